"""Views of source code: tokens, names, functions, calls and a tree, in several languages."""

from __future__ import annotations

from pretrial.code_views.grammars import ALIASES, GRAMMARS
from pretrial.code_views.python import PythonView
from pretrial.code_views.view import Call, Edits, Function, Name, Node, Place, Span, Token, View
from pretrial.errors import UserError

__all__ = [
    "Call", "Edits", "Function", "Name", "Node", "Place", "Span", "Token", "View", "languages",
    "view",
]  # fmt: skip


def languages() -> list[str]:
    """The languages that `view` knows; those but Python need `pretrial[code]`."""
    return list(GRAMMARS)


def view(text: str | bytes, language: str = "python") -> View:
    """A view of source code.

    Args:
        text: the source; of bytes, those that are not UTF-8 are read as Latin-1, line by line.
        language: one of `languages()`, in any case.

    Raises:
        UserError: the language is unknown, or its grammar is not installed.
    """
    name = language.lower()
    name = ALIASES.get(name, name)
    if name not in GRAMMARS:
        raise UserError(
            f"there is no grammar for {language!r}: give one of {', '.join(languages())}, which"
            " pip install 'pretrial[code]' brings"
        )
    text = decode(text) if isinstance(text, bytes) else text
    if name == "python":
        return PythonView(text, name)
    from pretrial.code_views.treesitter import TreeSitterView

    return TreeSitterView(text, name)


def decode(source: bytes) -> str:
    """Text of source in UTF-8, or, line by line, in Latin-1 where it is none; never fails."""
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError:
        lines = source.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True)
        return "".join(_decode_line(line) for line in lines)


def _decode_line(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")
