"""Source in many languages, by the grammars of tree-sitter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pretrial.code_views.grammars import GRAMMARS
from pretrial.code_views.python import PythonView
from pretrial.code_views.treesitter_edits import TreeSitterEdits
from pretrial.code_views.view import Call, Edits, Function, Kind, Span, Token, View

_COMMENTS = {"comment", "line_comment", "block_comment", "html_comment", "hash_bang_line"}
_STRINGS = {
    "string", "string_literal", "raw_string_literal", "interpreted_string_literal",
    "encapsed_string", "char_literal", "character_literal", "rune_literal", "template_string",
    "regex", "string_array", "symbol_array", "bare_string", "bare_symbol", "delimited_symbol",
    "simple_symbol", "hash_key_symbol", "system_lib_string", "heredoc", "nowdoc", "heredoc_body",
    "heredoc_beginning", "nowdoc_body", "interpolated_string_expression", "subshell",
    "verbatim_string_literal", "shell_command_expression", "character", "text", "format_specifier",
}  # fmt: skip
_INSIDE_STRINGS = {
    "interpolation", "template_substitution", "variable_name", "dynamic_variable_name",
    "format_expression",
}  # fmt: skip
_NAMES = {
    "name", "constant", "instance_variable", "class_variable", "global_variable", "label_name",
    "variable_name", "implicit_parameter", "shorthand_property_identifier_pattern",
}  # fmt: skip
_DECLARATIONS = {
    "decorated_definition", "lexical_declaration", "variable_declaration", "export_statement",
    "global_statement", "local_variable_declaration", "field_declaration",
}  # fmt: skip
_OPAQUE = {"preproc_arg"}
_PLAIN = re.compile(r"""[^\W\d]\w*|\d[\w.]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|\S""")
_ACCESS = re.compile(r"\s*(?:\?\.|\?->|->|::|\.)\s*$")
_NAME_FIELDS = ("attribute", "property", "field", "name", "method")
_MARKS = re.compile(r"^[ \t]*(?:/\*+!?|\*+/|\*|//[/!]*|\#+|=begin|=end)[ \t]?|\*+/[ \t]*$", re.M)


@dataclass(slots=True, eq=False)
class Item:
    """A node of the grammar's tree, with what is asked of it most.

    Attributes:
        kind: the grammar's name for it.
        slot: the field of the parent that it is in; "" for none.
        start: offset in characters.
        end: offset in characters.
        named: False for signs and words that the grammar spells out.
        parent: None at the root.
        children: in the order of the source.
    """

    kind: str
    slot: str
    start: int
    end: int
    named: bool
    parent: Item | None
    children: list[Item] = field(default_factory=list)

    def child(self, name: str) -> Item | None:
        """The first child in a field."""
        return next((child for child in self.children if child.slot == name), None)

    def walk(self) -> Iterator[Item]:
        """This node and those below it, in the order of the source."""
        waiting = [self]
        while waiting:
            item = waiting.pop()
            yield item
            waiting.extend(reversed(item.children))

    def above(self) -> Iterator[Item]:
        """The nodes around this one, from the inside out."""
        item = self.parent
        while item is not None:
            yield item
            item = item.parent


class TreeSitterView(View):
    """A view by a grammar of tree-sitter, which finds tokens in any text, whole or broken.

    Raises:
        UserError: the grammar is not installed.
    """

    def __init__(self, text: str, language: str) -> None:
        super().__init__(text, language)
        self.grammar = GRAMMARS[language]
        loaded = self.grammar.load(text)
        from tree_sitter import Parser

        self._tree = Parser(loaded).parse(text.encode("utf-8", "surrogatepass"))

    @property
    def parsed(self) -> bool:
        """See `View.parsed`."""
        return not self._tree.root_node.has_error

    @cached_property
    def root(self) -> Item:
        """The root of the grammar's tree."""
        cursor = self._tree.walk()
        root = parent = self._item(cursor, None)
        entering = True  # below `parent`, where the cursor is
        while True:
            if entering and cursor.goto_first_child():
                parent = self._item(cursor, parent)
            elif cursor.goto_next_sibling():
                assert parent.parent is not None
                parent = self._item(cursor, parent.parent)
                entering = True
            elif cursor.goto_parent():
                if parent.parent is None:
                    return root
                parent, entering = parent.parent, False
            else:
                return root

    def _item(self, cursor: Any, parent: Item | None) -> Item:
        node = cursor.node
        start, end = self.character(node.start_byte), self.character(node.end_byte)
        item = Item(node.type, cursor.field_name or "", start, end, node.is_named, parent)
        if parent is not None:
            parent.children.append(item)
        return item

    @cached_property
    def tokens(self) -> list[Token]:
        """See `View.tokens`; strings with names in them come in pieces."""
        tokens: list[Token] = []
        done, last = 0, self.root
        for item in self._leaves():
            if item.start < done or item.start == item.end:
                continue
            if self.text[done : item.start].strip():  # what the grammar skipped, or has no node for
                around = next((a for a in item.above() if a.start <= done), self.root)
                self._add_plain(tokens, done, item.start, around.kind in _STRINGS)
            kind = self._kind(item)
            together = kind == "string" and tokens and tokens[-1][0::2] == ("string", item.start)
            if together and last.parent is item.parent:
                tokens[-1] = Token("string", tokens[-1].start, item.end)
            elif item.kind in _OPAQUE:
                self._add_plain(tokens, item.start, item.end, False)
            else:
                tokens.append(Token(kind, item.start, item.end))
            done, last = item.end, item
        self._add_plain(tokens, done, len(self.text), False)
        return tokens

    def _leaves(self) -> Iterator[Item]:
        """Nodes that are one token each."""
        waiting = [self.root]
        while waiting:
            item = waiting.pop()
            if self._is_leaf(item):
                yield item
            else:
                waiting.extend(reversed(item.children))

    @staticmethod
    def _is_leaf(item: Item) -> bool:
        """Whether a node is one token: without children, or a string with nothing to look into."""
        children = item.children
        if not children or item.kind in _COMMENTS:
            return True
        if item.kind == "variable_name":  # of PHP
            return len(children) == 2 and not children[1].children
        if item.kind not in _STRINGS or item.kind == "format_specifier":
            return False
        return not any(inner.kind in _INSIDE_STRINGS for inner in item.walk())

    def _kind(self, item: Item) -> Kind:
        """The kind of token that a leaf is."""
        kind, text = item.kind, self.text[item.start : item.end]
        if kind in _COMMENTS:
            return "comment"
        if kind in _NAMES or kind.endswith("identifier") or "property_identifier" in kind:
            return "identifier"
        outer = item.parent.kind if item.parent else ""
        if kind in _STRINGS or (outer in _STRINGS and outer != "format_specifier"):
            return "operator" if kind in _INSIDE_STRINGS else "string"
        if text[0].isdigit() or (text[0] == "." and text[1:2].isdigit()):
            return "number"
        word = text[0].isalpha() or (text[0] in "#_" and text[1:2].isalpha())
        return "keyword" if word else "operator"

    def _add_plain(self, tokens: list[Token], start: int, end: int, string: bool) -> None:
        """Adds what stands between leaves: a piece of a string, or words and signs."""
        for match in _PLAIN.finditer(self.text, start, end):
            sign = match[0][0]
            kind: Kind = "operator"
            if string or (sign in "\"'" and len(match[0]) > 1):
                kind = "string"
            elif sign.isdigit():
                kind = "number"
            elif sign.isalpha() or sign == "_":
                kind = "identifier"
            if string and tokens and tokens[-1].kind == "string" and tokens[-1].end >= start:
                tokens[-1] = Token(kind, tokens[-1].start, match.end())
            else:
                tokens.append(Token(kind, *match.span()))

    def _spans(self) -> Iterator[tuple[str, int, int]]:
        waiting = list(self.root.children)
        for item in waiting:  # it grows: breadth first
            if not self._is_leaf(item):
                yield item.kind, item.start, item.end
                waiting += item.children

    def calls(self) -> list[Call]:
        """See `View.calls`."""
        found = []
        for item in self.root.walk() if self.parsed else ():
            called = self.grammar.calls.get(item.kind)
            callee = item if called == "" else item.child(called) if called else None
            if callee is None:
                continue
            choices: list[Item | None] = [callee]
            if callee.kind.startswith("generic_"):
                choices = [callee.children[0]]
            elif callee.children:
                choices = [callee.child(name) for name in _NAME_FIELDS]
            name = next((choice for choice in choices if choice is not None), None)
            if name is None or name.children or self._kind(name) != "identifier":
                continue
            receiver = _ACCESS.sub("", self.text[callee.start : name.start])
            text = self.text[name.start : name.end]
            found.append(Call(text, receiver, callee.start, name.start, name.end, item.end))
        return sorted(found, key=lambda call: call.name_start)

    @cached_property
    def edits(self) -> Edits:
        """See `View.edits`; those of Python are found by its own parser."""
        if self.language == "python":
            return self._python.edits
        return TreeSitterEdits(self) if self.parsed else Edits()

    @cached_property
    def _functions(self) -> list[Function]:
        found = []
        for item in self.root.walk():
            if item.kind in self.grammar.functions:
                holder, name = item, item.child("name") or self.declared_name(item)
            elif item.kind in self.grammar.closures and item.slot == "value" and item.parent:
                holder, name = item.parent, item.parent.child("name")
            else:
                continue
            if name is not None:
                found.append(self._function(item, holder, name))
        return sorted(found, key=lambda function: function.start)

    @staticmethod
    def declared_name(item: Item) -> Item | None:
        """The name inside the declarators of C."""
        inner = item.child("declarator")
        while inner is not None and inner.children:
            inner = inner.child("declarator")
        return inner

    def _function(self, item: Item, holder: Item, name: Item) -> Function:
        """The facts about one function; `holder` is the declaration that it is a part of."""
        outer = holder
        while outer.parent and outer.parent.kind in _DECLARATIONS:
            outer = outer.parent
        body = item.child("body")
        start = self._body_start(item, body)
        if self.language == "python":
            known = (f.docstring for f in self._python.functions() if f.body_start == start)
            docstring = next(known, "")
        else:
            docstring = self._comment_above(outer)
        text = self.text[name.start : name.end]
        return Function(text, outer.start, item.end, start, docstring)

    def _body_start(self, item: Item, body: Item | None) -> int:
        """Where the first statement begins."""
        if body is None:  # declared only, or empty in Ruby
            last = item.children[-1]
            return last.start if last.kind == "end" else item.end
        if body.kind != "block" and body.kind not in self.grammar.blocks:
            return body.start
        for child in body.children:
            if child.named and child.kind not in _COMMENTS:
                return child.start
        return body.children[-1].start

    @cached_property
    def _python(self) -> PythonView:
        """The same text seen by Python's own parser."""
        return PythonView(self.text, "python")

    def _comment_above(self, item: Item) -> str:
        """The comments on the lines right above a node, without their marks."""
        siblings = item.parent.children if item.parent else []
        place = next((n for n, sibling in enumerate(siblings) if sibling is item), 0)
        comments: list[str] = []
        start = item.start
        while place > 0 and siblings[place - 1].kind in _COMMENTS:
            place -= 1
            comment = siblings[place]
            gap = self.text[comment.end : start]
            line = self.line_starts[self.line_of(comment.start) - 1]
            if gap.strip() or gap.count("\n") > 1 or self.text[line : comment.start].strip():
                break
            comments.insert(0, self.text[comment.start : comment.end])
            start = comment.start
        lines = _MARKS.sub("", "\n".join(comments)).splitlines()
        return "\n".join(line.strip() for line in lines).strip()

    def _docstrings(self) -> list[tuple[Span, str]]:
        return self._python._docstrings() if self.language == "python" else []
