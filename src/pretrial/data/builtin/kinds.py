"""What the built-in data sets hold, told without making them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One data set at its default options.

    Attributes:
        what: its rows are.
        num_rows: that it has; -1 where that hangs on what is installed.
        fields: of each row.
    """

    what: str
    num_rows: int
    fields: tuple[str, ...]


_PROBLEM = (
    *("id", "question", "tests", "examples", "solutions"),
    *("starter_code", "difficulty", "style"),
)

#: By the name of the data set.
KINDS = {
    "mini-apps": Kind("problems", 1500, _PROBLEM),
    "human-eval": Kind("problems", 164, _PROBLEM),
    "stdlib-code": Kind("code", -1, ("code", "docstring", "name", "module", "package", "path")),
    "stdlib-docstrings": Kind("texts", -1, ("text", "label", "kind", "name", "module")),
    "installed-code": Kind("code", -1, ("text", "path", "repo", "language")),
    "digits": Kind("images", 1797, ("image", "label", "number")),
    "spoken-words": Kind("recordings", 720, ("audio", "label", "voice", "speed")),
    "glyphs": Kind("images", -1, ("image", "label", "font")),
    "listops": Kind("sequences", 10_000, ("tokens", "text", "label", "depth")),
    "pathfinder": Kind("images", 5000, ("image", "label", "number")),
}
