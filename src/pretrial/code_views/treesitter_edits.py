"""Where code in the languages of tree-sitter can be changed with its meaning kept.

Grammars tell no scopes, so the rules are strict: a name is a local variable only where every
mention of it stands behind a declaration, in the block of that declaration. In doubt: nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from pretrial.code_views.view import Edits, Name, Place, Span

if TYPE_CHECKING:
    from pretrial.code_views.grammars import Grammar
    from pretrial.code_views.treesitter import Item, TreeSitterView

_VARIABLES = {"identifier", "implicit_parameter", "variable_name"}
_SHORTHAND = {"shorthand_property_identifier", "shorthand_property_identifier_pattern"}
_CALLED_BY_SYSTEM = {"main", "init", "initialize", "Main", "__construct"}
#: Declarations whose names are not known to their own values.
_WHOLE = {"short_var_declaration", "var_spec", "const_spec", "assignment"}
_HOISTED = ("variable_declarator", "variable_declaration")  # var of JavaScript
_ACTING = {"new", "await", "yield", "delete", "sizeof", "throw"}
_READ = {"name", "constant", "instance_variable", "class_variable", "global_variable"}
_LITERAL_SIGNS = {"=", ":=", ";", "-", "[", "]", "{", "}", "(", ")", ","}
_NO_STATEMENTS = {"comment", "line_comment", "block_comment", "case_statement"}
_WORD = re.compile(r"\w+")


class TreeSitterEdits(Edits):
    """The edits of a view of a text that parses; see `Edits`."""

    def __init__(self, view: TreeSitterView) -> None:
        self.finder = _Finder(view)

    @cached_property
    def variables(self) -> list[Name]:
        """See `Edits.variables`."""
        return [name for names in self._by_function for name in names]

    @cached_property
    def functions(self) -> list[Name]:
        """See `Edits.functions`."""
        return self.finder.functions()

    @cached_property
    def places(self) -> list[Place]:
        """See `Edits.places`."""
        return [place for item in self._clear for place in self.finder.places(item)]

    @cached_property
    def pairs(self) -> list[tuple[Span, Span]]:
        """See `Edits.pairs`."""
        return [
            pair
            for item, names in zip(self._clear, self._by_function, strict=True)
            for pair in self.finder.pairs(item, {name for name, _ in names})
        ]

    @cached_property
    def _clear(self) -> list[Item]:
        """The outermost functions in which every name can be told."""
        finder = self.finder
        return [item for item in finder.outermost() if not finder.looked_at(item)]

    @cached_property
    def _by_function(self) -> list[list[Name]]:
        return [self.finder.variables(item) for item in self._clear]


class _Finder:
    """Finds the edits of one text."""

    def __init__(self, view: TreeSitterView) -> None:
        self.view = view
        self.grammar: Grammar = view.grammar
        self.inner = self.grammar.functions | self.grammar.closures
        self.scopes = self.grammar.scopes | self.grammar.blocks | self.inner
        opaque = [item for item in view.root.walk() if item.kind == "preproc_arg"]
        self.unclear = {word for item in opaque for word in _WORD.findall(self.text(item))}

    def text(self, item: Item) -> str:
        """Its source."""
        return self.view.text[item.start : item.end]

    def outermost(self) -> Iterator[Item]:
        """Functions that are inside no other."""
        waiting = [self.view.root]
        while waiting:
            item = waiting.pop()
            if item.kind in self.inner:
                yield item
            else:
                waiting.extend(reversed(item.children))

    def looked_at(self, function: Item) -> bool:
        """Whether names of variables are data to a function, or it holds scopes unknown here."""
        for item in function.walk():
            word = self.text(item) if item.kind in ("identifier", "name") else item.kind
            if word in self.grammar.looks:
                return True
        return False

    def variables(self, function: Item) -> list[Name]:
        """The names that are local variables wherever a function mentions them."""
        mentions: dict[str, list[Item]] = {}
        unclear = set(self.unclear)
        for item in function.walk():
            if self.role(item) == ("argument", "name"):  # of a parameter, given by its name
                unclear |= {self.text(item), "$" + self.text(item)}
            if item.kind in _VARIABLES:
                if self.role(item) not in self.grammar.members:
                    mentions.setdefault(self.text(item), []).append(item)
            elif item.kind in _SHORTHAND or item.kind == "hash_key_symbol":
                unclear.add(self.text(item))
        found = []
        for name, items in mentions.items():
            clear = name not in unclear | {"$this", "_", "self", "this", "arguments"}
            if clear and self.is_local(function, items):
                found.append(Name(name, [(item.start, item.end) for item in items]))
        return found

    def is_local(self, function: Item, mentions: list[Item]) -> bool:
        """Whether all mentions of a name are of variables declared in a function."""
        if any(
            {self.role(item), self.declared_by(item)} & self.grammar.forbids for item in mentions
        ):
            return False
        if self.view.language == "php":  # its variables belong to functions and need no declaration
            return True
        declared = [item for item in mentions if self.declares(item)]
        ranges = [self.scope(function, item) for item in declared]
        return bool(declared) and all(
            any(item is own for own in declared)
            or any(start <= item.start < end for start, end in ranges)
            for item in mentions
        )

    @staticmethod
    def role(item: Item) -> tuple[str, str]:
        """The kind of its parent, and the field."""
        return (item.parent.kind if item.parent else "", item.slot)

    def declarator(self, item: Item) -> Item:
        """The node around a name whose role says what it is declared by."""
        while self.role(item) in self.grammar.through and item.parent:
            item = item.parent
        return item

    def declared_by(self, item: Item) -> tuple[str, str]:
        """The role that tells what a name is declared by."""
        return self.role(self.declarator(item))

    def declares(self, item: Item) -> bool:
        """Whether a mention is a declaration."""
        outer = self.declarator(item)
        parent = outer.parent
        if self.role(outer) not in self.grammar.declares or parent is None:
            return False
        if parent.kind == "range_clause":
            return any(child.kind == ":=" for child in parent.children)
        if parent.kind == "for_in_statement":
            return parent.child("kind") is not None
        return True

    def scope(self, function: Item, item: Item) -> Span:
        """Where a name that is declared there means that variable."""
        outer = self.declarator(item)
        assert outer.parent is not None
        kinds = self.scopes
        declaration = outer.parent.parent
        if declaration and (outer.parent.kind, declaration.kind) == _HOISTED:
            kinds = self.inner
        around = next((above for above in outer.above() if above.kind in kinds), function)
        whole = outer.parent.kind in _WHOLE
        return (outer.parent.end if whole else item.end), around.end

    def functions(self) -> list[Name]:
        """Functions of the outermost level that are only ever called or mentioned by name."""
        found = []
        named = [
            (item, item.child("name") or self.view.declared_name(item))
            for item in self.outermost()
            if item.kind in self.grammar.functions
        ]
        names = [self.text(name) for _, name in named if name]
        everywhere = list(self.view.root.walk())
        for item, name in named:
            text = self.text(name) if name else ""
            top = item.parent is None or item.parent.kind in (
                "program", "source_file", "translation_unit", "global_statement",
            )  # fmt: skip
            method = name is not None and name.kind == "field_identifier"  # of Go, with a receiver
            if (
                not top
                or method
                or names.count(text) != 1
                or text in self.unclear | _CALLED_BY_SYSTEM
            ):
                continue
            mentions = [
                other for other in everywhere if not other.children and self.text(other) == text
            ]
            if all(other is name or self.is_use(other) for other in mentions):
                found.append(Name(text, [(other.start, other.end) for other in mentions]))
        return found

    def is_use(self, item: Item) -> bool:
        """Whether a mention calls a function without a receiver, or names it as a value."""
        kind, slot = self.role(item)
        if kind in self.grammar.calls:
            called = self.grammar.calls[kind]
            receivers = ("object", "receiver", "scope")
            assert item.parent is not None
            free = all(item.parent.child(name) is None for name in receivers)
            return slot == called or (called == "" and slot in ("name", "method") and free)
        plain = self.view.language in ("javascript", "go", "c") and item.kind == "identifier"
        return plain and not self.declares(item) and self.role(item) not in self.grammar.forbids

    def blocks(self, function: Item) -> Iterator[tuple[Item, list[Item]]]:
        """Blocks of statements in a function, with these."""
        for item in function.walk():
            if item.kind in self.grammar.blocks:
                statements = [
                    child
                    for child in item.children
                    if child.named
                    and "comment" not in child.kind
                    and child.kind != "case_statement"
                ]
                yield item, statements

    def place(self, statement: Item) -> Place | None:
        """The start of the line that a statement begins; None if something stands before it."""
        view = self.view
        line = view.line_starts[view.line_of(statement.start) - 1]
        indent = view.text[line : statement.start]
        return None if indent.strip() else Place(line, indent)

    def places(self, function: Item) -> list[Place]:
        """Before every statement that begins a line, but for those that must come first."""
        found = []
        for _, statements in self.blocks(function):
            for statement in statements:
                first = statement.children[0].kind if statement.children else ""
                if statement.kind == "explicit_constructor_invocation" or first == "string":
                    continue
                place = self.place(statement)
                if place:
                    found.append(place)
        return sorted(found)

    def pairs(self, function: Item, variables: set[str]) -> list[tuple[Span, Span]]:
        """Neighbours, one of which gives a constant to a variable that the other does not use."""
        found = []
        closures = (item for item in function.walk() if item.kind in self.inner)
        captured = {
            self.text(leaf)
            for closure in closures
            if closure is not function
            for leaf in self.leaves(closure)
        }
        for block, statements in self.blocks(function):
            around = [block, *block.above()]
            if any(item.kind in self.grammar.guards for item in around):
                continue
            if self.view.language == "ruby":
                statements = statements[:-1]  # the last one is the value of the block
            for one, two in pairwise(statements):
                if not (self.place(one) and self.place(two)):
                    continue
                if one.kind not in self.grammar.simple or two.kind not in self.grammar.simple:
                    continue
                if self.independent(one, two, variables, captured):
                    found.append(((one.start, one.end), (two.start, two.end)))
        return sorted(found)

    def independent(self, one: Item, two: Item, variables: set[str], captured: set[str]) -> bool:
        """Whether one only gives constants to variables, and the other has no use for these."""
        given = [self.given_constants(item) for item in (one, two)]
        for names, other, others in zip(given, (two, one), reversed(given), strict=True):
            used = {self.text(leaf) for leaf in self.leaves(other)}
            if others is None:  # what it calls may be a closure
                used |= captured
            if names and names <= variables - used:
                return True
        return False

    def given_constants(self, item: Item) -> set[str] | None:
        """The variables to which a statement gives constants; None if it does more."""
        if item.kind not in self.grammar.assigns:
            return None
        if any(inner.kind in self.grammar.calls for inner in item.walk()):
            return None
        targets = set()
        for leaf in self.leaves(item):
            text = self.text(leaf)
            if leaf.kind in _VARIABLES and leaf.slot != "type":
                targets.add(text)
                if not self.declares(leaf) and self.role(leaf) != ("assignment_expression", "left"):
                    return None
            elif leaf.kind in _READ or (not leaf.named and not self.is_plain(text)):
                return None
        return targets

    @staticmethod
    def is_plain(text: str) -> bool:
        """Whether a sign or a word of a declaration does nothing that could fail."""
        return text in _LITERAL_SIGNS or (text.isalpha() and text not in _ACTING)

    def leaves(self, item: Item) -> Iterator[Item]:
        """Names, constants and signs of a statement."""
        waiting = [item]
        while waiting:
            inner = waiting.pop()
            if inner.kind == "variable_name" or not inner.children:
                yield inner
            else:
                waiting.extend(inner.children)
