"""The worker: a small clean interpreter that forks once for every program.

The host starts it anew, so a fork takes well under a millisecond and inherits neither the host's
memory nor its threads. Frames come in on standard input:

    C  configuration, once; answered by H (hello) or X (what failed, and why)
    T  the tests of a problem (inputs, or an assert script), or a tree of files for commands, kept
       for what follows
    J  one run of one program; answered by any number of R (raw bytes of its report), then one O
       (its output, if it is read) and one E (how it ended)
    S  stop the run with this token; nothing if it has ended by then

The next T and J may come while a run is under way, which saves the wait for them.
"""

from __future__ import annotations

import _signal
import contextlib
import gc
import json
import os
import resource
import select
import signal
import sys
import tempfile
import threading
import time
import types
from collections import deque
from typing import Any

# The folder of this file leaves the search path once its neighbours are imported.
import cage
import clock
import folders
import forks
import harness
import kernel
import preamble
import private_root
import syscalls
import wire

sys.path.remove(os.path.dirname(os.path.abspath(__file__)))

CLEANING_SECONDS = 1.0
PRINTING = ("stdin", "command")  # kinds of runs whose output is read


class Zygote:
    """Forks programs, watches over them and passes on what they say."""

    def __init__(
        self, config: dict[str, Any], names: dict[str, Any], fd_in: int, fd_out: int
    ) -> None:
        self.level: str = config["isolation"]
        self.names, self.fd_in, self.fd_out = names, fd_in, fd_out
        self.early: deque[tuple[bytes, bytes]] = deque()  # frames that came during a run
        self.inputs: list[list[Any]] = []
        self.script: types.CodeType | str = ""
        self.tree: list[list[Any]] = []
        # Without namespaces programs take a uid of their own, and we stay root to be out of their
        # reach.
        root = self.level == "rlimits" and os.geteuid() == 0
        self.uid = cage.private_uid() if root else None
        self.folder: str = config["folder"]
        self.box_mb: int = config["box_mb"]
        self.box = private_root.BOX if self.level == "namespaces" else self.new_box()
        # Where files without a name are made: with namespaces no path leads there.
        self.shelf = private_root.hidden_folder() if self.level == "namespaces" else None
        self.wake, wake = os.pipe()
        for fd in (self.wake, wake):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # programs of our own uid could send it
        if self.level != "namespaces":
            signal.signal(signal.SIGTERM, _leave)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def new_box(self) -> str:
        """An empty folder for programs to work in, where there is no file system for each."""
        box = tempfile.mkdtemp(dir=self.folder)
        if self.uid is not None:
            os.chown(box, self.uid, -1)
        return box

    def serve(self) -> None:
        """Answer frames until the host closes the pipe."""
        while True:
            kind, payload = self.early.popleft() if self.early else wire.receive(self.fd_in)
            if kind == b"T":
                self.keep(json.loads(payload))
            elif kind == b"J":
                self.run(json.loads(payload))

    def keep(self, tests: dict[str, Any]) -> None:
        """Prepare the tests of a problem, or a tree of files, once for all that runs on it."""
        self.tree = tests.get("tree", [])
        if self.tree:
            return
        self.inputs = wire.unpack(tests["inputs"])
        try:
            self.script = compile(tests["script"], harness.SCRIPT, "exec", dont_inherit=True)
        except SyntaxError:
            self.script = tests["script"]  # each program then reports the error

    def run(self, job: dict[str, Any]) -> None:
        """Fork one program, wait for its end and leave nothing of it behind."""
        report_in, report_out = os.pipe()
        output_in, output_out = os.pipe() if job["kind"] in PRINTING else (-1, -1)
        stdin = self.file_with(job["stdin"]) if job.get("stdin") else -1
        start = time.monotonic()
        pid = os.fork()
        if pid == 0:
            self.child(job, stdin, output_out, report_out)
        for fd in (report_out, output_out, stdin):
            if fd >= 0:
                os.close(fd)
        try:
            ended = self.watch(pid, report_in, output_in, job, start)
        finally:  # also when the host has gone
            self.clean_up(pid)
        wire.send(self.fd_out, b"E", wire.to_bytes(ended))

    def file_with(self, text: str) -> int:
        """A descriptor of a file that holds `text`; programs use its size, so no pipe would do."""
        if self.shelf is None:
            fd, path = tempfile.mkstemp(dir=self.folder)
            os.unlink(path)
        else:
            fd = os.open(".", os.O_TMPFILE | os.O_EXCL | os.O_RDWR, 0o600, dir_fd=self.shelf)
        wire.write_all(fd, text.encode("utf-8", "replace"))
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def child(self, job: dict[str, Any], stdin: int, output: int, report_fd: int) -> None:
        """The program's process, from the fork to its end."""
        try:
            # `signal` would look up an Enum for each number, which takes longer than all the rest.
            _signal.set_wakeup_fd(-1)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
            _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
            os.setsid()
            forks.put_back()
            errors = output if job["kind"] == "command" else -1
            # Opened anew: locks and flags of a file that all programs shared would stay with it.
            nowhere = os.open(os.devnull, os.O_RDWR)
            for fd, source in ((0, stdin), (1, output), (2, errors)):
                os.dup2(source if source >= 0 else nowhere, fd)
            first = 3
            for fd in sorted([report_fd, *cage.kept, 256]):
                os.closerange(first, fd)
                first = fd + 1
            self.confine(job["limits"])
            if kernel.LINUX and self.level != "namespaces":
                # Where a program can end this worker, it ends with it.
                kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            report = harness.Report(report_fd)
            if job["kind"] == "fingerprint":
                harness.fingerprints(job["programs"], report)
            elif job["kind"] == "command":
                harness.command(job, self.tree, report)
            else:
                harness.run(job, self.inputs, self.script, self.names, report)
        finally:
            os._exit(0)

    def confine(self, limits: dict[str, int]) -> None:
        """The layers that are put on in the program's own process."""
        os.chdir(self.box)
        if self.level == "none":
            return
        if self.level == "namespaces":
            cage.drop_capabilities()
            cage.set_limits(limits, others=2)
        elif self.uid is not None:
            cage.become(self.uid)
            if kernel.LINUX:
                kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
            cage.set_limits(limits, others=0)
        else:
            cage.set_limits(limits, others=None)

    def watch(
        self, pid: int, report: int, output: int, job: dict[str, Any], start: float
    ) -> dict[str, Any]:
        """Pass on the report, gather the output, and kill the program when its time is up.

        Returns:
            reason ("", "timeout", "output_limit" or "stopped"), signal, status, cpu and wall
            seconds.
        """
        time_left = clock.Clock(pid, job["seconds"], job["wall"]).left
        room = {report: job["report_bytes"], output: job["output_bytes"]}
        gathered = bytearray()
        reason = ""
        poll = select.poll()
        for fd in (report, output, self.wake, self.fd_in):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        gone: tuple[int, int, resource.struct_rusage | None] = (0, 0, None)
        while not gone[0]:
            left = 1.0 if reason else time_left()
            if left <= 0:
                reason = "timeout"
                self.kill(pid)
            for fd, _ in poll.poll(max(1, left * 1000)):
                if fd == self.wake:
                    os.read(self.wake, 512)
                    gone = os.wait4(pid, os.WNOHANG)
                elif fd == self.fd_in:
                    kind, payload = wire.receive(fd)
                    if kind != b"S":
                        self.early.append((kind, payload))
                    elif payload.decode() == job["token"]:
                        reason = reason or "stopped"
                        self.kill(pid)
                elif not self.take(fd, poll, room, gathered, output) and not reason:
                    reason = "output_limit"
                    self.kill(pid)
        wall = time.monotonic() - start
        for fd in (report, output):
            if fd >= 0:
                os.set_blocking(fd, False)
                while fd in room and self.take(fd, poll, room, gathered, output):
                    pass
                os.close(fd)
        if output >= 0:
            wire.send(self.fd_out, b"O", bytes(gathered))
        usage = gone[2]
        assert usage is not None
        code = os.waitstatus_to_exitcode(gone[1])
        return {
            "reason": reason or ("output_limit" if min(room.values(), default=0) < 0 else ""),
            "signal": max(0, -code),
            "status": max(0, code),
            "cpu": usage.ru_utime + usage.ru_stime,
            "wall": wall,
        }

    def take(
        self, fd: int, poll: select.poll, room: dict[int, int], gathered: bytearray, output: int
    ) -> bool:
        """Read once from the program. False: it has written more than it may."""
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            data = b""
        if not data:
            with contextlib.suppress(KeyError):
                poll.unregister(fd)
            room.pop(fd)
            return True
        room[fd] -= len(data)
        if room[fd] < 0:
            return False
        if fd == output:
            gathered += data
        else:
            wire.send(self.fd_out, b"R", data)
        return True

    def kill(self, pid: int) -> None:
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)

    def clean_up(self, pid: int) -> None:
        """Kill what the program started and empty its folder."""
        if self.level == "namespaces":
            with contextlib.suppress(OSError):
                os.kill(-1, signal.SIGKILL)  # we are pid 1: everybody in the namespace but us
        else:
            self.kill(pid)
            while stray := cage.strays():
                if self.uid is not None:
                    cage.kill_all_of(self.uid)
                for child in stray:
                    self.kill(child)
                    with contextlib.suppress(OSError):
                        os.waitpid(child, 0)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        # Even an empty box may have other permissions or attributes than it had.
        if self.level == "namespaces":
            private_root.fresh_box(True, self.box_mb)
            return
        with contextlib.suppress(OSError):  # what cannot be deleted now the host deletes in the end
            folders.empty_folder(self.box, seconds=CLEANING_SECONDS)
            os.rmdir(self.box)
        self.box = self.new_box()


def _leave(*_: object) -> None:
    """The host asks this worker to end, by way of the clean-up after its program."""
    raise EOFError


def main() -> None:
    # The frames move to other descriptors, so that nothing printed by mistake gets among them.
    fd_in, fd_out = os.dup(0), os.dup(1)
    _, payload = wire.receive(fd_in)
    config = json.loads(payload)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)  # which a preamble or a package may print to
    stage = "preamble"
    try:
        names = preamble.load(config["preamble"])
        if threading.active_count() > 1:  # programs must forget the preamble's threads
            forks.put_back()
        stage = "isolation"
        layers = cage.isolate({**config, "fd_in": fd_in})
        stage = "packages"
        packages = config["packages"]
        preamble.allow(packages["names"], packages["imports"], packages["folders"])
        if packages["names"] and config["isolation"] == "namespaces":
            private_root.fresh_box(True, config["box_mb"])  # one may have left something there
    except Exception as error:
        wire.send(fd_out, b"X", wire.to_bytes([stage, f"{type(error).__name__}: {error}"]))
        return
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    harness.make_streams()
    harness.make_places()
    sys.set_int_max_str_digits(0)  # programs print and read numbers of any length
    zygote = Zygote(config, names, fd_in, fd_out)
    if config["isolation"] != "none" and syscalls.available():
        syscalls.install(syscalls.compile_filter(os.uname().machine))  # programs inherit it
    gc.collect()
    gc.freeze()  # forks share the pages for longer
    wire.send(fd_out, b"H", wire.to_bytes(layers))
    try:
        zygote.serve()
    except (EOFError, BrokenPipeError):
        return  # the host has gone
    except Exception as error:
        wire.send(fd_out, b"X", wire.to_bytes(["run", f"{type(error).__name__}: {error}"]))
