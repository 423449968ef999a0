"""Running a test command in a copy of a tree of files, and counting the tests that fail.

    with TestCommand("python -m pytest -q", read_tree("project")) as command:
        before = command.run()
        after = command.run({"package/module.py": repaired})
        command.num_failing(before), command.num_failing(after)  # (2, 0)

Every run begins with a fresh copy of the tree, in a folder that exists for it alone, under the
isolation and the limits of this package: no network, no files but the system's programs, the
running interpreter with its packages, and what `readable` names. The user's own tree is never
touched, and what one run writes no other finds.

A test command shares its process with the program that it tests, so a program that wants to can
forge its report. This judges patches, not adversaries.
"""

from __future__ import annotations

import base64
import math
import os
import shlex
import stat
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pretrial.errors import UserError
from pretrial.sandbox.counts import Counts, count_tests
from pretrial.sandbox.host import ENVIRONMENT, Ended
from pretrial.sandbox.inside import wire
from pretrial.sandbox.isolation import check_level, start_best
from pretrial.sandbox.limits import Limits

#: For a test command with its interpreter and test framework, unlike those for a small program.
COMMAND_LIMITS = Limits(seconds=60.0, memory_mb=2048, output_kb=1024, processes=64)
#: What a copy of a tree does without.
LEFT_OUT = (".*", "__pycache__", "*.pyc", "node_modules", "venv", "*.egg-info")

_SYSTEM = ("/usr", "/bin", "/sbin", "/etc/alternatives")
_MOST_MB = 64  # of a tree: it is sent to the worker and written anew for every run
_KEPT_CHARS = 4000
_PLAIN_MODE = 0o644


class File(NamedTuple):
    """A file of a tree: its content and its permissions."""

    content: bytes
    mode: int = _PLAIN_MODE


Tree = Mapping[str, File]


def read_tree(source: str | Path, leave_out: Sequence[str] = LEFT_OUT) -> dict[str, File]:
    """The files below a folder by their paths in it, or one file by its name.

    Symbolic links are followed where they lead to a file of the same folder, and left out else.

    Args:
        source: a folder or a file.
        leave_out: patterns of names of files and folders.

    Raises:
        UserError: nothing is there, or it is too large to be copied for every run.
    """
    root = Path(source)
    if root.is_file():
        return {root.name: _file(root)}
    if not root.is_dir():
        raise UserError(f"there is no file or folder {root}: check the path of the tree")
    found: dict[str, File] = {}
    size, inside = 0, root.resolve()
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not _matches(f, leave_out))
        for name in sorted(names):
            path = Path(folder, name)
            if _matches(name, leave_out) or not path.is_file():
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                continue
            file = _file(path)
            size += len(file.content)
            if size > _MOST_MB << 20:
                raise UserError(
                    f"{root} holds more than {_MOST_MB} MB, and is copied for every run of the"
                    " tests: give a smaller folder"
                )
            found[path.relative_to(root).as_posix()] = file
    if not found:
        raise UserError(f"{root} holds no files: check the path of the tree")
    return found


def _file(path: Path) -> File:
    return File(path.read_bytes(), stat.S_IMODE(path.stat().st_mode) | 0o600)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


@dataclass(frozen=True)
class TestRun:
    """What came of one run of the tests.

    Attributes:
        status: exit status of the command.
        reason: "" where it ended by itself, else `timeout`, `output_limit`, `signal` or `lost`.
        counts: passed and failed tests as far as the output names them.
        output: the end of what it printed.
        wall_seconds: how long it took.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    status: int
    reason: str = ""
    counts: Counts | None = None
    output: str = ""
    wall_seconds: float = 0.0


class TestCommand:
    """A test command and the tree of files it runs in. Use it as a context manager.

    Threads may share it; their runs come one after the other.

    Args:
        command: its words, or a text that is split as a shell does; for pipes and the like give
            `sh -c '...'`.
        tree: the files, see `read_tree`.
        limits: of one run; memory and CPU time are those of each process.
        isolation: "auto" or a level, see `Runner`.
        readable: files and folders that the tests may read beside those named above.
        environment: variables beside a small fixed set.

    Raises:
        UserError: the command is empty, or the isolation asked for is not to be had.
    """

    __test__ = False

    def __init__(
        self,
        command: str | Sequence[str],
        tree: Tree,
        *,
        limits: Limits = COMMAND_LIMITS,
        isolation: str = "auto",
        readable: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        check_level(isolation)
        self.command = _words(command)
        self.tree = tree
        self.limits = limits
        self.num_tests = 0  # the most that any run has counted
        self._lock = threading.Lock()  # a worker serves one caller at a time
        self._environment = {
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), ENVIRONMENT["PATH"])),
            **(environment or {}),
        }
        size = sum(len(file.content) for file in tree.values())
        self._packed = wire.to_bytes({"tree": _pack(tree)})
        self._worker = start_best(
            isolation,
            readable=[*_SYSTEM, *_interpreter(), *map(os.path.abspath, readable)],
            box_mb=64 + 3 * (size >> 20),
        )

    @property
    def isolation(self) -> str:
        """The level in force."""
        return self._worker.isolation

    def __enter__(self) -> TestCommand:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    def run(self, changes: Mapping[str, str | bytes] | None = None) -> TestRun:
        """Run the tests once in a fresh copy.

        Args:
            changes: files that replace those of the tree, or come to it.

        Raises:
            UserError: the command cannot be started, or a path leads out of the tree.
        """
        limits, changed = self.limits, dict(changes or {})
        job = {
            "kind": "command",
            "command": self.command,
            "environment": self._environment,
            "changes": _pack({path: self._changed(path, text) for path, text in changed.items()}),
            **limits.of_job(),
            "report_bytes": 1 << 16,
            "output_bytes": limits.output_kb << 10,
            "token": "",
        }
        messages: list[Any] = []
        with self._lock:
            ended = self._worker.run(job, self._packed, messages.append)
        if messages:
            raise UserError(self._refusal(messages[0]))
        run = _run_of(ended)
        if run.counts:
            with self._lock:
                self.num_tests = max(self.num_tests, run.counts.passed + run.counts.failed)
        return run

    def num_failing(self, run: TestRun) -> float:
        """How many tests fail; those that others have shown to be there, but did not run, do too.

        Where neither this run nor any other printed counts, the exit status is the one test.

        Returns:
            A whole number, or infinity where the tests could not be collected or did not end.
        """
        if self.num_tests == 0 and not run.reason:
            return float(run.status != 0)
        if run.reason or run.counts is None or not run.counts.whole:
            return math.inf
        missing = self.num_tests - run.counts.passed - run.counts.failed
        return float(max(run.counts.failed + missing, run.status != 0))

    def _changed(self, path: str, text: str | bytes) -> File:
        mode = self.tree[path].mode if path in self.tree else _PLAIN_MODE
        return File(
            text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text, mode
        )

    def _refusal(self, message: Any) -> str:
        kind, text = message["e"][1:3]
        if kind in ("FileNotFoundError", "PermissionError", "NotADirectoryError"):
            return (
                f"the test command {self.command[0]!r} cannot be started in the sandbox: it finds"
                f" the system's programs and those of {Path(sys.executable).parent}, as far as"
                " everybody may read them; name others with `readable`"
            )
        return f"the tree of files cannot be copied for the tests ({kind}: {text})"


def _words(command: str | Sequence[str]) -> list[str]:
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError as error:
        raise UserError(f"the test command {command!r} does not parse ({error})") from error
    if not words:
        raise UserError("the test command is empty: give one, such as 'python -m pytest -q'")
    return words


def _interpreter() -> list[str]:
    """Where the running interpreter and its packages are."""
    real = Path(os.path.realpath(sys.executable))
    return list(dict.fromkeys((sys.prefix, sys.base_prefix, str(real.parent.parent))))


def _pack(tree: Tree) -> list[list[Any]]:
    for path in tree:
        parts = PurePosixPath(path).parts
        if not parts or ".." in parts or parts[0].startswith("/") or "\0" in path:
            raise UserError(
                f"the file {path!r} is not inside the tree: give paths in it, such as src/name.py"
            )
    return [[p, base64.b64encode(f.content).decode(), f.mode] for p, f in tree.items()]


def _run_of(ended: Ended) -> TestRun:
    output = ended.output.decode("utf-8", "replace")
    reason = ended.reason or ("signal" if ended.signal else "")
    return TestRun(ended.status, reason, count_tests(output), output[-_KEPT_CHARS:], ended.wall)
