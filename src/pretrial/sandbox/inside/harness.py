"""Runs one program in the process forked for it, and reports over a pipe.

Messages, one JSON object a line: {"v": value} after each call, {"e": [phase, name, text, line]} for
an exception, {"d": token} at the end. Expected outputs never come here, so for `call` and `stdin`
there is
no verdict to forge: the host compares. An `assert` script shows values in the same way; what it
checks itself shares the interpreter with the program, and there the token only shows that the
script reached its end.
"""

from __future__ import annotations

import atexit
import base64
import builtins
import functools
import hashlib
import io
import json
import os
import random
import signal
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import cage
import preamble
import wire

FILE, SCRIPT = "<program>", "<tests>"
STREAMS: dict[Any, int] = {
    path.format(name=name, fd=fd): fd
    for fd, name in enumerate(("stdin", "stdout", "stderr"))
    for path in ("/dev/{name}", "/dev/fd/{fd}", "/proc/self/fd/{fd}")
}
_python_open, _system_open = open, os.open
MAX_TEXT = 500  # characters of an exception's message


class Report:
    """The way back to the host."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def send(self, message: dict[str, Any]) -> None:
        wire.write_all(self.fd, json.dumps(message).encode() + b"\n")

    def error(self, phase: str, error: BaseException) -> None:
        """Report an exception: its name, its text and the program's line."""
        cage.reporting_margin()
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int | str | None) else 1
            self.send({"x": code if isinstance(code, int) else 0 if code is None else 1})
            return
        self.send({"e": [phase, _name(error), _text(error), _line(error)]})

    def finish(self, token: str) -> None:
        wire.write_all(self.fd, b'{"d": "%s"}\n' % token.encode())


def _name(error: BaseException) -> str:
    return str.__str__(type(error).__name__)[:100]


def _text(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return str(error.msg)[:MAX_TEXT]
    try:
        return str.__str__(str(error))[:MAX_TEXT]
    except BaseException as inner:  # the program's own __str__ may do anything
        return f"(no message: its __str__ raised {_name(inner)})"


def _line(error: BaseException) -> int | None:
    """The last line of the program on the way to the exception."""
    if isinstance(error, SyntaxError) and error.filename == FILE:
        return error.lineno
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def run(
    job: dict[str, Any],
    inputs: list[list[Any]],
    script: types.CodeType | str,
    names: dict[str, Any],
    report: Report,
) -> None:
    """Run the program of `job` as its kind asks.

    Args:
        job: kind, program, function, token, stop (at the first exception).
        inputs: for `call`, one list of arguments a test.
        script: for `assert`, what runs after the program.
        names: what the preamble defined.
        report: where messages go.
    """
    random.seed(0)
    atexit._clear()
    try:
        code = compile(job["program"], FILE, "exec", dont_inherit=True)
    except BaseException as error:  # also RecursionError and MemoryError of the parser
        report.error("compile", error)
        return
    # A real module, so that dataclasses, pickle and typing find what the program defines.
    module = types.ModuleType("__main__" if job["kind"] == "stdin" else "program")
    given = {**_given(job), **names}
    module.__dict__.update(given)
    module.__dict__["__builtins__"] = builtins
    sys.modules[module.__name__] = module
    if job["kind"] == "stdin":
        _run_script(code, module, job, report)
        return
    try:
        exec(code, module.__dict__)
    except BaseException as error:
        report.error("load", error)
        return
    if job["kind"] == "call":
        _run_calls(module, job, inputs, given, report)
    else:
        _run_asserts(module, script, job, report)


def _given(job: dict[str, Any]) -> dict[str, Any]:
    """The names that the style of a program takes for granted."""
    leetcode = job["kind"] != "stdin" and "class Solution" in job["program"]
    return preamble.leetcode if leetcode else {}


def _run_calls(
    module: types.ModuleType,
    job: dict[str, Any],
    inputs: list[list[Any]],
    given: dict[str, Any],
    report: Report,
) -> None:
    try:
        function = _find(module, job["function"], given)
    except BaseException as error:
        report.error("load", error)
        return
    for arguments in inputs:
        try:
            message = {"v": wire.pack(function(*arguments))}
        except BaseException as error:
            report.error("test", error)
            if job["stop"]:
                return
        else:
            report.send(message)
    report.finish(job["token"])


def _find(module: types.ModuleType, name: str, given: dict[str, Any]) -> Any:
    """The function under test: at top level, or a method of LeetCode's `class Solution`.

    A name that the program was given, such as `merge` of heapq, is not its own.
    """
    names = module.__dict__
    if name in names and names[name] is not given.get(name, names):
        return names[name]
    if "Solution" in names:
        return getattr(names["Solution"](), name)
    raise NameError(f"the program defines no {name!r}")


class _StopError(BaseException):
    """Ends an assert script at the first call that raises."""


def _run_asserts(
    module: types.ModuleType, script: types.CodeType | str, job: dict[str, Any], report: Report
) -> None:
    """Run an assert script, which shows the values that the host is to compare."""

    def shown(value: Callable[[], Any]) -> None:
        try:
            message = {"v": wire.pack(value())}
        except BaseException as error:
            report.error("test", error)
            if job["stop"]:
                raise _StopError from None
        else:
            report.send(message)

    module.__dict__[wire.SHOWN] = shown
    try:
        exec(script, module.__dict__)
    except _StopError:
        return
    except BaseException as error:
        report.error("script", error)
    else:
        report.finish(job["token"])


def _run_script(
    code: types.CodeType, module: types.ModuleType, job: dict[str, Any], report: Report
) -> None:
    """A program that reads standard input: it ends as under `python program.py`."""
    raised: list[BaseException] = []
    threading.excepthook = lambda args: raised.append(args.exc_value or SystemExit(1))
    try:
        exec(code, module.__dict__)
    except BaseException as error:
        raised.append(error)
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are not daemons
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.__stdout__):
            if stream is not None:
                stream.flush()
        module.__dict__.clear()  # files the program left open are flushed as they go
    except BaseException as error:
        raised.append(error)
    if raised:
        report.error("test", raised[0])
    else:
        report.finish(job["token"])


def command(job: dict[str, Any], tree: list[list[Any]], report: Report) -> None:
    """Write a tree of files into the working folder and become the command; returns on failure.

    Args:
        job: command, environment, changes (files that replace those of the tree).
        tree: path, content in base64 and mode of each file.
        report: where the failure goes.
    """
    try:
        for folder in ("tree", "tmp"):
            os.mkdir(folder)
        home = {"HOME": os.path.abspath("tmp"), "TMPDIR": os.path.abspath("tmp")}
        os.chdir("tree")
        for path, content, mode in [*tree, *job["changes"]]:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            with open(path, "wb") as file:
                file.write(base64.b64decode(content))
            os.chmod(path, mode)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
            signal.signal(number, signal.SIG_DFL)
        words = job["command"]
        os.execvpe(words[0], words, {**os.environ, **home, **job["environment"]})
    except BaseException as error:
        report.error("load", error)


def make_streams() -> None:
    """New standard streams, made once before the forks; each child points their descriptors."""
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = os.fdopen(fd, mode, encoding="utf-8", errors="replace", closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv = ["program.py"]


def make_places() -> None:
    """Give programs what they expect to find, before the forks.

    There is no /proc behind /dev/stdin and its like, so that opening one opens a descriptor. They
    have one processor, whatever the machine has, since they may not start processes without end.
    """
    builtins.open = io.open = _open
    os.open = _os_open
    os.cpu_count = lambda: 1


@functools.wraps(open)
def _open(file: Any, *arguments: Any, **options: Any) -> Any:
    fd = _stream(file)
    return _python_open(file if fd is None else fd, *arguments, **options)


@functools.wraps(os.open)
def _os_open(path: Any, *arguments: Any, **options: Any) -> int:
    fd = _stream(path)
    return _system_open(path, *arguments, **options) if fd is None else fd


def _stream(path: Any) -> int | None:
    """A new descriptor of the standard stream at this path; None if none is there."""
    fd = STREAMS.get(os.fspath(path)) if isinstance(path, str | os.PathLike) else None
    return None if fd is None else os.dup(fd)


def fingerprints(programs: list[str], report: Report) -> None:
    """For each program the hash of its byte code and the lines of the instructions, in order.

    Programs that differ in spaces and comments have one hash; the lines translate a line number of
    one into that of the other. This is done in a process of its own because the parser may blow up.
    """
    for program in programs:
        lines: list[int] = []
        try:
            shape = repr(_shape(compile(program, FILE, "exec", dont_inherit=True), lines))
        except Exception:  # it does not compile, or holds a number too large to print
            report.send({"f": None})
        else:
            digest = hashlib.sha256(shape.encode("utf-8", "surrogatepass")).hexdigest()
            report.send({"f": [digest, lines]})


def _shape(code: types.CodeType, lines: list[int]) -> tuple[Any, ...]:
    """All of `code` but for where it stands in the text; the lines are added to `lines`."""
    for start, end, line in code.co_lines():
        lines += [line or 0] * ((end - start) // 2)  # an instruction takes two bytes
    return (
        code.co_code,
        code.co_exceptiontable,
        code.co_flags,
        code.co_qualname,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        (code.co_names, code.co_varnames, code.co_cellvars, code.co_freevars),
        [_shape(c, lines) if isinstance(c, types.CodeType) else c for c in code.co_consts],
    )
