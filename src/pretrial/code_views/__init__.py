"""Views of source code: tokens, names, functions, calls and a tree, in several languages."""

from __future__ import annotations

from pretrial.code_views.python import PythonView
from pretrial.code_views.view import Call, Function, Node, Span, Token, View
from pretrial.errors import UserError, nearest

__all__ = ["Call", "Function", "Node", "Span", "Token", "View", "languages", "view"]


def languages() -> list[str]:
    """The languages that `view` knows."""
    return ["python"]


def view(text: str, language: str = "python") -> View:
    """A view of source code.

    Raises:
        UserError: the language is unknown.
    """
    if language != "python":
        raise UserError(f"no language is called {language!r}: {nearest(language, languages())}")
    return PythonView(text, language)
