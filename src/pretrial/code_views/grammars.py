"""What the tree-sitter grammars call the things that views speak of, language by language.

A role is the kind of a node's parent and the field that the node is in, such as
("variable_declarator", "name"); the field is "" where the grammar names none.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from pretrial.errors import missing_package

Role = tuple[str, str]


@dataclass(frozen=True)
class Grammar:
    """The names of a language's grammar.

    Attributes:
        package: on the package index.
        functions: kinds of functions that have a name.
        closures: kinds of those that have none.
        calls: kinds of calls, with the field of what is called; "" where the call itself has the
            fields of receiver and name.
        blocks: kinds whose children are statements.
        scopes: further kinds that names can be local to.
        through: roles that do not matter to what a name is declared by.
        declares: roles, after these, in which a name becomes that of a local variable.
        members: roles in which it is not the name of a variable.
        forbids: roles in which what it names is not clear, or called from outside.
        assigns: kinds of statements that give a value to a new or local variable.
        simple: kinds of statements that run and go on.
        guards: kinds inside which the order of statements could show when one of them fails.
        looks: kinds, and names of functions, that take names of variables for data.
    """

    package: str
    functions: frozenset[str]
    calls: dict[str, str]
    blocks: frozenset[str]
    closures: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    through: frozenset[Role] = frozenset()
    declares: frozenset[Role] = frozenset()
    members: frozenset[Role] = frozenset()
    forbids: frozenset[Role] = frozenset()
    assigns: frozenset[str] = frozenset()
    simple: frozenset[str] = frozenset()
    guards: frozenset[str] = frozenset()
    looks: frozenset[str] = frozenset()

    def load(self, text: str) -> Any:
        """The parser's language.

        Raises:
            UserError: the package is not installed.
        """
        try:
            tree_sitter = importlib.import_module("tree_sitter")
            module = importlib.import_module(self.package.replace("-", "_"))
        except ModuleNotFoundError as error:
            raise missing_package(self.package, "code") from error
        if self.package == "tree-sitter-php":  # functions often come without the opening tag
            whole = "?>" in text
            return tree_sitter.Language(
                module.language_php() if whole else module.language_php_only()
            )
        return tree_sitter.Language(module.language())


def _kinds(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _roles(text: str) -> frozenset[Role]:
    """Roles written as kind.field, or kind. where there is no field."""
    pairs = (item.split(".") for item in text.split())
    return frozenset((kind, name) for kind, name in pairs)


GRAMMARS: dict[str, Grammar] = {
    "python": Grammar(
        package="tree-sitter-python",
        functions=_kinds("function_definition"),
        calls={"call": "function"},
        blocks=_kinds("block"),
    ),
    "java": Grammar(
        package="tree-sitter-java",
        functions=_kinds("method_declaration constructor_declaration"),
        closures=_kinds("lambda_expression"),
        calls={"method_invocation": "", "object_creation_expression": "type"},
        blocks=_kinds("block constructor_body"),
        scopes=_kinds("for_statement enhanced_for_statement catch_clause"),
        through=_roles("variable_declarator.name"),
        declares=_roles(
            "formal_parameter.name spread_parameter. local_variable_declaration.declarator"
            " enhanced_for_statement.name catch_formal_parameter.name inferred_parameters."
            " lambda_expression.parameters"
        ),
        members=_roles("field_access.field method_invocation.name"),
        forbids=_roles(
            "field_declaration.declarator method_reference. labeled_statement. break_statement."
            " continue_statement. element_value_pair.key resource.name"
        ),
        assigns=_kinds("local_variable_declaration"),
        simple=_kinds("local_variable_declaration expression_statement"),
        guards=_kinds("try_statement try_with_resources_statement"),
        looks=_kinds("class_body"),
    ),
    "javascript": Grammar(
        package="tree-sitter-javascript",
        functions=_kinds("function_declaration generator_function_declaration method_definition"),
        closures=_kinds("arrow_function function_expression generator_function"),
        calls={"call_expression": "function", "new_expression": "constructor"},
        blocks=_kinds("statement_block"),
        scopes=_kinds("for_statement for_in_statement catch_clause"),
        through=_roles(
            "object_pattern. array_pattern. assignment_pattern.left rest_pattern."
            " pair_pattern.value object_assignment_pattern.left"
        ),
        declares=_roles(
            "formal_parameters. variable_declarator.name arrow_function.parameter"
            " for_in_statement.left catch_clause.parameter"
        ),
        assigns=_kinds("lexical_declaration variable_declaration"),
        simple=_kinds("lexical_declaration variable_declaration expression_statement"),
        guards=_kinds("try_statement"),
        looks=_kinds("eval with_statement class_body"),
    ),
    "go": Grammar(
        package="tree-sitter-go",
        functions=_kinds("function_declaration method_declaration"),
        closures=_kinds("func_literal"),
        calls={"call_expression": "function"},
        blocks=_kinds("statement_list"),
        scopes=_kinds(
            "block for_statement if_statement expression_switch_statement type_switch_statement"
            " expression_case default_case type_case communication_case"
        ),
        through=_roles("expression_list."),
        declares=_roles(
            "parameter_declaration.name variadic_parameter_declaration.name"
            " short_var_declaration.left var_spec.name const_spec.name range_clause.left"
        ),
        forbids=_roles("literal_element."),
        assigns=_kinds("short_var_declaration var_declaration"),
        simple=_kinds(
            "short_var_declaration var_declaration assignment_statement expression_statement"
            " inc_statement dec_statement"
        ),
        looks=_kinds("defer_statement"),
    ),
    "php": Grammar(
        package="tree-sitter-php",
        functions=_kinds("function_definition method_declaration"),
        closures=_kinds("anonymous_function arrow_function"),
        calls={
            "function_call_expression": "function",
            "member_call_expression": "",
            "nullsafe_member_call_expression": "",
            "scoped_call_expression": "",
        },
        blocks=_kinds("compound_statement"),
        forbids=_roles(
            "global_declaration. property_element.name property_promotion_parameter.name"
            " scoped_property_access_expression.name reference_assignment_expression.left"
            " reference_assignment_expression.right by_ref. static_variable_declaration.name"
        ),
        assigns=_kinds("expression_statement"),
        simple=_kinds("expression_statement echo_statement"),
        guards=_kinds("try_statement"),
        looks=_kinds(
            "compact extract get_defined_vars parse_str eval dynamic_variable_name"
            " include_expression include_once_expression require_expression"
            " require_once_expression"
        ),
    ),
    "ruby": Grammar(
        package="tree-sitter-ruby",
        functions=_kinds("method singleton_method"),
        closures=_kinds("block do_block lambda"),
        calls={"call": ""},
        blocks=_kinds("body_statement block_body then do else"),
        through=_roles("left_assignment_list. rest_assignment. destructured_parameter."),
        declares=_roles(
            "assignment.left method_parameters. block_parameters. optional_parameter.name"
            " splat_parameter.name hash_splat_parameter.name block_parameter.name"
            " lambda_parameters. exception_variable. for.pattern"
        ),
        members=_roles("call.method"),
        forbids=_roles("keyword_parameter.name"),
        assigns=_kinds("assignment"),
        simple=_kinds("assignment operator_assignment call"),
        guards=_kinds("begin"),
        looks=_kinds("binding eval instance_eval local_variables rescue ensure class module"),
    ),
    "c": Grammar(
        package="tree-sitter-c",
        functions=_kinds("function_definition"),
        calls={"call_expression": "function"},
        blocks=_kinds("compound_statement"),
        scopes=_kinds("for_statement"),
        through=_roles(
            "pointer_declarator.declarator array_declarator.declarator init_declarator.declarator"
            " parenthesized_declarator."
        ),
        declares=_roles("declaration.declarator parameter_declaration.declarator"),
        assigns=_kinds("declaration"),
        simple=_kinds("declaration expression_statement"),
        looks=_kinds("gnu_asm_expression"),
    ),
    "csharp": Grammar(
        package="tree-sitter-c-sharp",
        functions=_kinds("method_declaration constructor_declaration local_function_statement"),
        closures=_kinds("lambda_expression anonymous_method_expression"),
        calls={"invocation_expression": "function", "object_creation_expression": "type"},
        blocks=_kinds("block"),
        scopes=_kinds("for_statement foreach_statement catch_clause"),
        through=_roles("variable_declarator.name variable_declaration."),
        declares=_roles(
            "parameter.name parameter_list.name local_declaration_statement."
            " for_statement.initializer foreach_statement.left catch_declaration.name"
            " lambda_expression.parameters"
        ),
        members=_roles(
            "member_access_expression.name member_binding_expression.name argument.name"
        ),
        forbids=_roles(
            "field_declaration. invocation_expression.function generic_name. parameter.type"
            " variable_declaration.type object_creation_expression.type"
            " anonymous_object_creation_expression. cast_expression.type"
        ),
        assigns=_kinds("local_declaration_statement"),
        simple=_kinds("local_declaration_statement expression_statement"),
        guards=_kinds("try_statement using_statement"),
        looks=_kinds("nameof query_expression tuple_expression initializer_expression"),
    ),
}

#: Other spellings of a language's name.
ALIASES = {"c#": "csharp", "c_sharp": "csharp", "c-sharp": "csharp", "js": "javascript"}
