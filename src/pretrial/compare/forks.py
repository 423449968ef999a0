"""Jobs as forks of one process that has imported torch and the methods.

A fresh interpreter spends some 3 s of a core on imports before a job's first step. The server,
`python -m pretrial.compare.forks SLUG...`, pays that once a trial. It only imports: it makes no
trial, reads no data and draws no random number, so a job begins as it would in a process of its
own, and its result does not depend on which of the two it was.

The server reads folders of jobs, each with a zero byte after it, and writes a line for each job
that has ended: its number, in the order of starting, and its exit code. When its input ends, since
the trial closed it or died, it stops its jobs, waits until they have saved, and ends. Should the
server itself be killed, its jobs stop in the same way.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pretrial.errors import UserError

LOG = "log.txt"
# What torch imports at a job's first step, for a second. (scikit-learn, which some measures import,
# starts a thread, so it is left to the jobs.)
_LATER = ("torch._dynamo",)
# One thread a job: two threads in one process were many times slower on a busy machine.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


def variables() -> Mapping[str, str]:
    """The environment of a job's process: those of this one, and one thread."""
    return {**os.environ, **dict.fromkeys(_THREADS, "1")}


class Server:
    """The trial's end: starts jobs, and learns which have ended. For a `with` block.

    Args:
        slugs: methods to import ahead; a job that needs another one imports it itself.
    """

    def __init__(self, slugs: Sequence[str]) -> None:
        self._folders: list[Path] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *slugs],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=variables(),
            start_new_session=True,  # Ctrl-C reaches the trial alone, which then stops its jobs
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops the jobs that run, and waits until they have saved."""
        with suppress(BrokenPipeError):
            self._input.close()
        self._process.wait()
        self._output.close()

    def start(self, folder: Path) -> None:
        """Starts the job of a folder; what it says goes to log.txt there.

        Raises:
            UserError: the server was killed.
        """
        self._folders.append(folder)
        try:
            self._input.write(os.fsencode(folder) + b"\0")
            self._input.flush()
        except BrokenPipeError:
            raise self._died() from None

    def ended(self) -> tuple[Path, int]:
        """Waits for a job to end: its folder, and its exit code or minus the signal's number.

        Raises:
            UserError: the server was killed.
        """
        line = self._output.readline()
        if not line:
            raise self._died()
        number, code = map(int, line.split())
        return self._folders[number], code

    def _died(self) -> UserError:
        return UserError(
            f"the process that starts the jobs ended too early (code {self._process.wait()}; -9 is"
            " often want of memory): run the same command again to go on, with fewer --workers"
            " where memory is short"
        )


def main() -> int:
    """Serves until its input ends; in a job, does the job and gives its exit code."""
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)  # what an import prints is no answer
    _import(sys.argv[1:])
    folder = _serve(answers)
    if folder is None:
        return 0
    from pretrial.compare import worker

    return worker.run(folder)


def _import(slugs: Sequence[str]) -> None:
    """Imports what jobs of these methods need."""
    from pretrial import discover
    from pretrial.compare import setting, worker  # noqa: F401
    from pretrial.train import loop, run  # noqa: F401

    for load, names in ((discover.load, slugs), (importlib.import_module, _LATER)):
        for name in names:
            with suppress(Exception):  # the job imports it again, and says what is wrong
                load(name)


def _serve(answers: int) -> Path | None:
    """Starts jobs and says how they ended. Returns their folder in the jobs, None in the server."""
    can_fork = _is_single_threaded()
    lifeline, held = os.pipe()  # jobs read the one end, and stop when nobody holds the other
    wake, told = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(told, False)
    before = signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    running: dict[int, int] = {}
    count, rest, inputs = 0, b"", [0, wake]
    while 0 in inputs or running:
        ready, _, _ = select.select(inputs, (), ())
        if wake in ready:
            os.read(wake, 1 << 16)
            _reap(running, answers)
        if 0 not in ready:
            continue
        words = os.read(0, 1 << 16)
        if not words:
            inputs.remove(0)
            os.close(held)
        *names, rest = (rest + words).split(b"\0")
        for name in names:
            process = os.fork()
            if process == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, before)
                for handle in (answers, held, wake, told):
                    os.close(handle)
                return _become_job(os.fsdecode(name), lifeline, can_fork)
            running[process] = count
            count += 1
    return None


def _reap(running: dict[int, int], answers: int) -> None:
    """Says how the jobs ended that have ended."""
    for process in list(running):
        gone, status = os.waitpid(process, os.WNOHANG)
        if gone:
            answer = f"{running.pop(process)} {os.waitstatus_to_exitcode(status)}\n"
            with suppress(BrokenPipeError):  # the trial was killed: nobody wants to know
                os.write(answers, answer.encode())


def _become_job(name: str, lifeline: int, can_fork: bool) -> Path:
    """Makes this process that of a job: a session, an input and a log of its own."""
    os.setsid()
    log = os.open(Path(name) / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for number, handle in enumerate((lifeline, log, log)):
        os.dup2(handle, number)
    os.close(lifeline)
    os.close(log)
    if not can_fork:
        os.execv(sys.executable, [sys.executable, "-m", "pretrial.compare.worker", name])
    return Path(name)


def _is_single_threaded() -> bool:
    """Whether no import has started a thread, which a fork would lack; False where none can say."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
