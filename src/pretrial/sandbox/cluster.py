"""Running programs on all machines of a Ray cluster, with the verdicts of one machine.

    with ClusterRunner() as runner:
        verdicts = runner.run([(program, tests), ...])

Every core of the cluster that is free judges a few programs at a time, in a sandbox of its own
machine. What was on a machine that dies is judged again on another. Programs are isolated as well
as the weakest machine allows; with a named level, machines that lack it refuse.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Literal

from pretrial import cluster
from pretrial.errors import UserError
from pretrial.sandbox.compare import Mode
from pretrial.sandbox.jobs import Job, limits_of, pairs_of
from pretrial.sandbox.limits import Limits
from pretrial.sandbox.outcome import Verdict
from pretrial.sandbox.packages import names_of
from pretrial.sandbox.runner import Runner

_MOST = 64  # programs of one task: what is judged again when its machine dies
_ROUNDS = 4  # tasks a core, so that one with slow programs does not keep the others waiting
_runners: dict[tuple[Any, ...], Runner] = {}  # in the processes of the cluster


class ClusterRunner:
    """What `Runner` is on one machine. Use it as a context manager.

    Args:
        processes: how many processes have such a runner at the same time; they share the cluster.
        isolation, compare, outcomes, stop_at_first, preamble, packages: see `Runner`.

    Raises:
        UserError: Ray is not installed, an argument is wrong, or several processes would each
            start a cluster of their own.
    """

    def __init__(
        self,
        *,
        processes: int = 1,
        isolation: str = "auto",
        compare: Mode = "strict",
        outcomes: str = "ours",
        stop_at_first: bool = True,
        preamble: str = "",
        packages: Sequence[str] = (),
    ) -> None:
        if processes > 1 and "RAY_ADDRESS" not in os.environ:
            raise UserError(
                f"{processes} processes of a machine run programs on Ray, and each would start a"
                " cluster: start one with `ray start --head` and set RAY_ADDRESS to its address"
            )
        given = (isolation, compare, outcomes, stop_at_first, preamble)
        self._options = (*given, names_of(packages))
        self._stack = ExitStack()
        self._ray = self._stack.enter_context(cluster.joined())
        self._task = cluster.remote(self._ray, _judge)
        try:
            # an argument that is wrong is told before there are programs
            self.isolation: str = self._wait([self._task.remote(self._options, [], [])])[0][1]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> ClusterRunner:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the cluster, if this runner joined it."""
        self._stack.close()

    def run(
        self,
        jobs: Sequence[Job],
        limits: Limits | Sequence[Limits] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Verdict]:
        """Judges programs; see `Runner.run`."""
        jobs = pairs_of(jobs)
        each = limits_of(limits, len(jobs))
        cores = int(self._ray.cluster_resources().get("CPU", 1))
        size = max(1, min(_MOST, -(-len(jobs) // (cores * _ROUNDS))))
        starts = range(0, len(jobs), size)
        tasks = [
            self._task.remote(self._options, jobs[at : at + size], each[at : at + size])
            for at in starts
        ]
        done = 0

        def told(task: Any) -> None:
            nonlocal done
            done += min(size, len(jobs) - starts[tasks.index(task)])
            if progress:
                progress(done, len(jobs))

        found = self._wait(tasks, told)
        return [verdict for verdicts, _ in found for verdict in verdicts]

    def _wait(self, tasks: list[Any], told: Callable[[Any], None] = lambda task: None) -> list[Any]:
        """The results of tasks, in their order; those that are left are ended if one fails."""
        ray, waiting = self._ray, list(tasks)
        try:
            while waiting:
                (ready, *_), waiting = ray.wait(waiting)
                ray.get(ready)
                told(ready)
            return ray.get(tasks)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from None
            raise
        except ray.exceptions.RayError as error:
            raise cluster.lost(error, "a group of programs") from error
        finally:
            for task in waiting:
                ray.cancel(task)


AnyRunner = Runner | ClusterRunner


def runner_on(place: Literal["local", "ray"], *, processes: int = 1, **options: Any) -> AnyRunner:
    """A runner on this machine or on a Ray cluster; `options` are those of both."""
    if place == "ray":
        return ClusterRunner(processes=processes, **options)
    return Runner(processes=processes, **options)


def _judge(
    options: tuple[Any, ...], jobs: Sequence[Job], limits: Sequence[Limits]
) -> tuple[list[Verdict], str]:
    """The verdicts on a few programs, and the isolation in force; runs on the cluster."""
    if options not in _runners:
        isolation, compare, outcomes, stop_at_first, preamble, packages = options
        _runners[options] = Runner(
            workers=1,
            isolation=isolation,
            compare=compare,
            outcomes=outcomes,
            stop_at_first=stop_at_first,
            preamble=preamble,
            packages=packages,
        )
    runner = _runners[options]
    return runner.run(jobs, limits), runner.isolation
