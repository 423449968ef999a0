"""What MultiMend repairs: a tree of files, the wrong lines in it, and its test command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pretrial.code_views import languages
from pretrial.data.rows import numbered
from pretrial.errors import UserError, nearest
from pretrial.methods.code.multimend.data.fixes import Fix, fix_of_row, made_fixes
from pretrial.methods.code.multimend.data.hunks import Hunk
from pretrial.sandbox.commands import Tree, read_tree

_ENDINGS = {
    ".py": "python",
    ".java": "java",
    ".js": "javascript",
    ".c": "c",
    ".h": "c",
    ".go": "go",
    ".php": "php",
    ".rb": "ruby",
    ".cs": "csharp",
}
_FORM = (
    '{"tree": "project", "hunks": ["src/a.py:7-9"], "command": "python -m pytest -q"} with the'
    " folder, its wrong lines and its test command"
)


@dataclass(frozen=True)
class Bug:
    """A bug to repair.

    Attributes:
        name: for the reader.
        tree: the files.
        hunks: the wrong lines, by file and from top to bottom.
        command: runs the tests in the tree.
        fixed: texts of files as a person has mended them, to compare with; may be empty.
        language: of the files with hunks, as `code_views` calls it; "" goes by their names.
    """

    name: str
    tree: Tree
    hunks: tuple[Hunk, ...]
    command: str
    fixed: Mapping[str, str]
    language: str = ""

    def text(self, path: str) -> str:
        """The text of a file of the tree."""
        return self.tree[path].content.decode("utf-8", "surrogateescape")

    def language_of(self, path: str) -> str:
        """The language of a file.

        Raises:
            UserError: its name does not say.
        """
        found = self.language or _ENDINGS.get(PurePosixPath(path).suffix, "")
        if not found:
            raise UserError(
                f"the name of {path} does not tell its language: give the row a `language`, one of"
                f" {', '.join(languages())}"
            )
        return found


def read_examples(rows: Sequence[Mapping[str, Any]]) -> list[Fix | Bug]:
    """Pairs to learn from, or bugs to repair.

    Raises:
        UserError: a row is neither.
    """
    examples: list[Fix | Bug] = []
    for number, row in numbered(rows):
        if "tree" in row:
            examples.append(bug_of_row(row))
        elif {"removed", "added", "context"} <= row.keys():
            examples.append(fix_of_row(row))
        elif isinstance(row.get("code"), str):
            examples += made_fixes(row["code"], row.get("language") or "python")
        else:
            raise UserError(
                f"row {number} has neither removed, added and context, nor code, nor tree,"
                f" hunks and command (found: {', '.join(row) or 'none'}): name the fields to"
                " use, such as --fields code=text"
            )
    return examples


def bug_of_row(row: Mapping[str, Any]) -> Bug:
    """The bug of a row.

    Args:
        row: `tree` (a folder or file), `hunks` (texts as `Hunk.parse` takes them, such as
            "src/a.py:7-9"), `command`, and where they are known `name`, `language` and `fixed`
            (file in the tree to the text that a person gave it).

    Raises:
        UserError: something is missing, or the tree does not have these lines.
    """
    for field in ("tree", "hunks", "command"):
        if not row.get(field):
            raise UserError(f"a bug has no {field!r}: write it as {_FORM}")
    fixed = row.get("fixed") or {}
    _check_kinds(row["tree"], row["hunks"], row["command"], fixed)
    given = [row["hunks"]] if isinstance(row["hunks"], str) else row["hunks"]
    hunks = sorted(Hunk.parse(str(text)) for text in given)
    tree = read_tree(Path(row["tree"]).expanduser())
    for path in (*(hunk.path for hunk in hunks), *fixed):
        if path not in tree:
            raise UserError(f"{row['tree']} has no file {path}; the nearest: {nearest(path, tree)}")
    name = str(row.get("name") or row["tree"])
    bug = Bug(name, tree, tuple(hunks), row["command"], dict(fixed), row.get("language") or "")
    for hunk in hunks:
        hunk.check(bug.text(hunk.path))
        bug.language_of(hunk.path)
    return bug


def _check_kinds(tree: object, hunks: object, command: object, fixed: object) -> None:
    """Makes sure that the fields of a bug are of the kinds that JSON gives them.

    Raises:
        UserError: one is not.
    """
    words = isinstance(command, list) and all(isinstance(word, str) for word in command)
    right = {
        "tree": isinstance(tree, str | Path),
        "hunks": isinstance(hunks, str | list | tuple),
        "command": isinstance(command, str) or words,
    }
    for field, is_right in right.items():
        if not is_right:
            raise UserError(f"the {field!r} of a bug is of the wrong kind: write it as {_FORM}")
    if not isinstance(fixed, Mapping) or not all(isinstance(t, str) for t in fixed.values()):
        raise UserError(
            "'fixed' of a bug must give files their mended texts: write it as"
            ' {"src/a.py": "the whole text"}, or leave it out'
        )
