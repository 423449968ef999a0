"""Python source: a fast lexer for tokens, the standard library's parser for the rest."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from functools import cached_property

from pretrial.code_views.lexer import lex
from pretrial.code_views.python_edits import python_edits
from pretrial.code_views.view import Call, Edits, Function, Span, Token, View

Definition = ast.FunctionDef | ast.AsyncFunctionDef
_LITTLE = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)


class PythonView(View):
    """A view of Python source. It is parsed when something asks for more than tokens."""

    @cached_property
    def tokens(self) -> list[Token]:
        """See `View.tokens`; formatted strings come in pieces, with the names inside them."""
        return lex(self.text)

    @cached_property
    def module(self) -> ast.Module | None:
        """The tree of `ast`; None where the text does not parse."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # old escapes in strings are not our business
                return ast.parse(self.text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All nodes, parents before children; none where the text does not parse."""
        return list(ast.walk(self.module)) if self.module else []

    @property
    def parsed(self) -> bool:
        """See `View.parsed`."""
        return self.module is not None

    def span(self, node: ast.AST) -> Span:
        """Where a node stands, its decorators included."""
        start = self._offset(node.lineno, node.col_offset)  # type: ignore[attr-defined]
        end = self._offset(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
        for decorator in getattr(node, "decorator_list", [])[:1]:
            first = self._offset(decorator.lineno, decorator.col_offset)
            start = self.text.rindex("@", 0, first)
        return start, end

    def calls(self) -> list[Call]:
        """See `View.calls`."""
        found = []
        for node in self.nodes:
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            if not isinstance(function, ast.Name | ast.Attribute):
                continue
            name = function.id if isinstance(function, ast.Name) else function.attr
            start, name_end = self.span(function)
            name_start = name_end - len(name)
            if self.text[name_start:name_end] != name:  # in formatted strings, before Python 3.12
                continue
            receiver = self.text[start:name_start].rstrip().removesuffix(".").rstrip()
            found.append(Call(name, receiver, start, name_start, name_end, self.span(node)[1]))
        return sorted(found, key=lambda call: call.name_start)

    @cached_property
    def edits(self) -> Edits:
        """See `View.edits`."""
        return python_edits(self)

    @cached_property
    def _functions(self) -> list[Function]:
        found = []
        for node in self.nodes:
            if isinstance(node, Definition):
                start, end = self.span(node)
                body = self.span(node.body[0])[0]
                docstring = ast.get_docstring(node) or ""
                found.append(Function(node.name, start, end, body, docstring))
        return sorted(found, key=lambda function: function.start)

    def _docstrings(self) -> list[tuple[Span, str]]:
        found = []
        for node in self.nodes:
            if not isinstance(node, ast.Module | ast.ClassDef | Definition):
                continue
            if ast.get_docstring(node, clean=False) is None:
                continue
            start, end = self.span(node.body[0])
            rest = self.text[end:].lstrip(" \t") if self.text[end : end + 1] in " \t;" else ""
            if rest.startswith(";"):
                end = len(self.text) - len(rest) + 1
            needed = len(node.body) == 1 and not isinstance(node, ast.Module)
            found.append(((start, end), "pass" if needed else ""))
        return found

    def _spans(self) -> Iterator[tuple[str, int, int]]:
        """See `View._spans`; formatted strings have no nodes inside."""
        waiting: list[ast.AST] = [self.module] if self.module else []
        for node in waiting:  # it grows: breadth first
            if hasattr(node, "lineno"):
                yield type(node).__name__, *self.span(node)
            if not isinstance(node, ast.JoinedStr):
                inner = ast.iter_child_nodes(node)
                waiting += [child for child in inner if not isinstance(child, _LITTLE)]

    def _offset(self, line: int, column: int) -> int:
        """The character at a line, from 1, and a column in bytes of UTF-8."""
        start = self.line_starts[line - 1]
        if self.bytes_before is None:
            return start + column
        return self.character(self.bytes_before[start] + column)
