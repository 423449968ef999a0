"""The host's end of a worker: start it, hand it runs, read what comes back, trust none of it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrial.errors import UserError
from pretrial.sandbox.inside import wire
from pretrial.sandbox.packages import NO_PACKAGES, Packages
from pretrial.sandbox.scratch import Scratch, sweep

INSIDE = Path(__file__).parent / "inside"
START_SECONDS = 60.0
GRACE_SECONDS = 5.0  # beyond a run's own limit, before the worker itself is given up
LEAVE_SECONDS = 2.0  # for a worker to clean up after itself
AHEAD_BYTES = 8192
BOX_MB = 16
ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUTF8": "1",
    "TZ": "UTC",
}


class RefusedError(Exception):
    """The level of isolation asked for is not to be had here."""


@dataclass
class Ended:
    """How a run ended.

    Attributes:
        reason: "" (by itself), `timeout`, `output_limit`, `stopped` (by us) or `lost` (took its
            worker along).
        signal, status: the signal that ended it, or its exit status; 0 if none.
        cpu, wall: seconds.
        output: what it printed (`stdin` and `command` only).
        words: if it is lost, what is known of that.
    """

    reason: str = ""
    signal: int = 0
    status: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    output: bytes = b""
    words: str = ""


class Worker:
    """One worker process and the pipes to it. Not safe for threads: one caller at a time.

    Args:
        isolation: `namespaces`, `rlimits` or `none`; no other level is tried.
        preamble: statements run once, whose names every program finds.
        readable: files and folders that may be read beside the standard library.
        box_mb: size in MiB of the folder that programs work in (with `namespaces`).
        packages: those that programs may import beside the standard library.
        hash_seed: by which Python hashes texts in programs, and so orders sets of them.
    """

    def __init__(
        self,
        isolation: str,
        preamble: str = "",
        readable: Sequence[str] = (),
        box_mb: int = BOX_MB,
        packages: Packages = NO_PACKAGES,
        hash_seed: int = 0,
    ) -> None:
        self._environment = {**ENVIRONMENT, "PYTHONHASHSEED": str(hash_seed)}
        self.isolation, self.preamble, self.packages = isolation, preamble, packages
        self.readable, self.box_mb = list(readable), box_mb
        self.layers: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._host = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._folder: Scratch | None = None
        self._tests: bytes | None = None
        self._ahead: dict[str, Any] | None = None

    def start(self) -> None:
        """Start the process and wait for its hello.

        Raises:
            RefusedError: this isolation is not to be had here; the message says why.
            UserError: the preamble raises, or a package cannot be imported.
        """
        with self._lock:
            if self._closed:
                raise EOFError("the worker was closed")
            sweep()
            folder = self._folder = Scratch()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-s", str(INSIDE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                cwd="/",
                start_new_session=True,  # Ctrl-C at the terminal is for the host alone
            )
        self._tests, self._ahead = None, None
        config = {
            "isolation": self.isolation,
            "preamble": self.preamble,
            "folder": folder.path,
            "readable": self.readable,
            "box_mb": self.box_mb,
            "packages": self.packages.to_row(),
        }
        try:
            self._send(b"C", wire.to_bytes(config))
            kind, payload = self._receive(time.monotonic() + START_SECONDS)
        except (OSError, EOFError):
            assert self._process.stderr is not None
            self._process.kill()
            words = self._process.stderr.read().decode(errors="replace").strip().splitlines()
            self.kill()
            raise RefusedError(words[-1] if words else "the worker ended without a word") from None
        if kind == b"H":
            self.layers = json.loads(payload)
            return
        self.kill()
        stage, text = json.loads(payload)
        if stage == "preamble":
            raise UserError(f"the preamble for programs must run by itself, but it raised {text}")
        if stage == "packages":
            raise UserError(
                f"programs cannot import {', '.join(self.packages.imports)} in the sandbox"
                f" ({text}): mend the installation, or leave out what does not work there"
            )
        raise RefusedError(text)

    def run(
        self,
        job: dict[str, Any],
        tests: bytes | None = None,
        heed: Callable[[Any], bool | None] = lambda message: False,
        following: tuple[dict[str, Any], bytes | None] | None = None,
    ) -> Ended:
        """Run one program.

        Args:
            job: see `inside.zygote` and `inside.harness.run`.
            tests: what `judge.prepare` packed, sent only if it is not the object of the last run.
            heed: called with each message of the program (untrusted; None if it is not JSON).
                True means that enough has been heard and stops the run.
            following: the job, and its tests, that this worker is sure to be given next. It is sent
                along, so that the worker need not wait for it.
        """
        self._forget_inherited()
        if self._ahead is not None and self._ahead is not job:
            self.kill()  # it would answer for the job that was sent along with the last one
        if self._process is None:
            self.start()
        deadline = time.monotonic() + job["wall"] + GRACE_SECONDS
        try:
            if job is not self._ahead:
                self._submit(job, tests)
            self._ahead = None
            # What fits into an empty pipe cannot block us while the worker waits for us to read.
            if following is not None and self._submit(*following, at_most=AHEAD_BYTES):
                self._ahead = following[0]
            return self._follow(job, deadline, heed)
        except (OSError, EOFError) as error:
            timed_out = time.monotonic() >= deadline
            self.kill()
            reason = "timeout" if timed_out else "lost"
            return Ended(reason, wall=job["wall"], words=str(error))

    def _submit(self, job: dict[str, Any], tests: bytes | None, at_most: float = math.inf) -> bool:
        """Send a job, if it is not larger than `at_most` bytes."""
        payload = wire.to_bytes(job)
        news = tests if tests is not None and tests is not self._tests else b""
        if len(payload) + len(news) > at_most:
            return False
        if news:
            self._send(b"T", news)
            self._tests = tests
        self._send(b"J", payload)
        return True

    def _follow(
        self, job: dict[str, Any], deadline: float, heed: Callable[[Any], bool | None]
    ) -> Ended:
        ended, rest, stopped = Ended(), b"", False
        while True:
            kind, payload = self._receive(deadline)
            if kind == b"R":
                *lines, rest = (rest + payload).split(b"\n")
                for line in lines:
                    if not stopped and heed(_message(line)):
                        stopped = True
                        self._send(b"S", job["token"].encode())
            elif kind == b"O":
                ended.output = payload
            elif kind == b"X":
                raise EOFError(json.loads(payload)[1])
            elif kind == b"E":
                for name, value in json.loads(payload).items():
                    setattr(ended, name, value)
                return ended

    def _send(self, kind: bytes, payload: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        wire.send(self._process.stdin.fileno(), kind, payload)

    def _receive(self, deadline: float) -> tuple[bytes, bytes]:
        assert self._process is not None
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise EOFError("the worker does not answer")
        return wire.receive(fd)

    def kill(self) -> None:
        """End the process; the next run starts another. Its pid namespace goes with it."""
        self._forget_inherited()
        with self._lock:
            process, self._process = self._process, None
            folder, self._folder = self._folder, None
            self._ahead = None
        if process is not None:
            if self.isolation != "namespaces":
                _ask_to_end(process)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        if folder is not None:
            folder.remove()

    def _forget_inherited(self) -> None:
        """In a fork of the host: leave it the process, which a second one must not speak to."""
        if self._host != os.getpid():
            self._host, self._process, self._folder = os.getpid(), None, None
            self._ahead = None
            self._lock = threading.Lock()

    def close(self) -> None:
        """End the process for good."""
        self._closed = True
        self.kill()


def _ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """Let the worker kill what its program has started; a pid namespace needs no such care."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LEAVE_SECONDS)


def _message(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
