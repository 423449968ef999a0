"""The reward itself."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError, nearest
from pretrial.rewards.batched import Batcher
from pretrial.rewards.completions import Fence
from pretrial.rewards.items import Item, Reader
from pretrial.rewards.judging import judged
from pretrial.rewards.scoring import MODES, Mode, Scored, or_if_failed
from pretrial.sandbox import Limits, Runner
from pretrial.sandbox.limits import WALL_FACTOR

_SPARE = 60.0  # seconds, for workers to start
_ASYNC_THREADS = 32  # batches that one event loop may wait for at the same time


class CodeReward:
    """Unit tests as a reward. Use it as a context manager, or `close` it at the end.

    Any number of threads may use one at the same time. A copy that is pickled, or a process that is
    forked, has workers of its own.

    Args:
        problems: where tests come from by the id of a problem: a source of problems (a file,
            `builtin:NAME`), or problems. Without it tests come with the data, in a column.
        mode: "all": 1 if every test passes, otherwise 0; "share": the share of tests that pass;
            "weighted": the same by weight.
        weights: of tests, by the id of the problem, for "weighted"; the column of that name without
            it.
        fence: which block of code of an answer counts: the "last" or the "first", or "none" where
            the answer is nothing but code; see `program_in`.
        continue_prompt: the program is the prompt and what was written after it, as a model without
            chat completes the head of a function. Problems in completion form need no such word.
        allow_shared: take tests of assert scripts that have to be checked within the program's own
            process, where a dishonest program can forge a pass; without it they are refused.
        limits: of one program, its tests together.
        deadline: seconds after which a batch is answered whatever has been judged by then; programs
            without a verdict get None. By default as long as the limits of its programs allow, so
            that none is None because it, or another one, was slow.
        trace: run all tests of a program, also where the first wrong one decides its reward.
        name: by which trainers log it.
        columns: names of columns, where they differ: {"tests": ..., "problem_id": ..., "weights":
            ...}.
        **options: of the `Runner`: workers, isolation, compare, preamble, packages, processes.

    Raises:
        UserError: an argument is wrong, or the isolation asked for is not to be had.
    """

    _runner: Runner | None
    _batcher: Batcher | None
    _executor: ThreadPoolExecutor | None

    def __init__(
        self,
        problems: str | Path | Sequence[Problem] | None = None,
        *,
        mode: Mode = "all",
        weights: Mapping[str, Sequence[float]] | None = None,
        fence: Fence = "last",
        continue_prompt: bool = False,
        allow_shared: bool = False,
        limits: Limits | None = None,
        deadline: float | None = None,
        trace: bool = False,
        name: str = "code_reward",
        columns: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        if mode not in MODES:
            raise UserError(f"mode is one of {', '.join(MODES)}, not {mode!r}; {_near(mode)}")
        if deadline is not None and not deadline > 0:
            raise UserError(f"deadline is a positive number of seconds, not {deadline!r}")
        self.__name__ = name
        self.mode, self.limits, self.deadline = mode, limits or Limits(), deadline
        self._reader = Reader(
            problems=problems,
            weights=weights,
            weighted=mode == "weighted",
            fence=fence,
            continue_prompt=continue_prompt,
            allow_shared=allow_shared,
            columns=columns,
        )
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1") or 1)
        self._options = {
            "processes": local,
            **options,
            "stop_at_first": mode == "all" and not trace,
        }
        self._open()
        self._start()

    @property
    def isolation(self) -> str:
        """The level of isolation in force."""
        return self._start().isolation

    # --- trainers ---

    def __call__(
        self, completions: Sequence[Any], prompts: Sequence[Any] | None = None, **columns: Any
    ) -> list[float | None]:
        """The rewards of completions; the signature of TRL's reward functions.

        Args:
            completions: texts, or lists of chat messages.
            prompts: of the same number; only `continue_prompt` has a use for them.
            **columns: lists of the same number: `tests`, or `problem_id` where the reward has
                problems; `weights` for the mode "weighted". Other columns are passed over.

        Returns:
            From 0 to 1 each; None where the sandbox failed or the deadline came first.

        Raises:
            UserError: a column is missing or of another length, a problem has no tests or is not
                known, or its tests would share the program's process.
        """
        scored = self.score(completions, prompts, **columns)
        self._log(scored, columns)
        return [each.reward for each in scored]

    def score(
        self, completions: Sequence[Any], prompts: Sequence[Any] | None = None, **columns: Any
    ) -> list[Scored]:
        """The same with what came of each test."""
        items = self._reader.items(completions, prompts, columns)
        found = dict(self._scored(items, self.deadline))
        self._tell(found.values())
        return [found[place] for place in range(len(items))]

    async def score_async(
        self, completions: Sequence[Any], prompts: Sequence[Any] | None = None, **columns: Any
    ) -> list[Scored]:
        """The same, while the event loop goes on."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads(), lambda: self.score(completions, prompts, **columns)
        )

    @property
    def asynchronous(self) -> AsyncCodeReward:
        """This reward as an asynchronous function, which TRL awaits beside others."""
        return AsyncCodeReward(self)

    def compute_score(
        self,
        data_source: Any,
        solution_str: str,
        ground_truth: Any,
        extra_info: Any = None,
        score_if_failed: float | None = None,
        **_: Any,
    ) -> float:
        """The reward of one completion; the signature of verl's `compute_score`.

        verl calls it from many threads at once. What they ask for in the meantime is judged
        together.

        Args:
            data_source: not looked at.
            solution_str: the completion.
            ground_truth: the tests, or the id of a problem where the reward has problems.
            extra_info: `weights` in it are taken for the mode "weighted".
            score_if_failed: the score where there is none, since the sandbox failed.

        Raises:
            NoVerdictError: there is none, and `score_if_failed` is None.
            UserError: as `__call__` does.
        """
        columns = {"problem_id" if self._reader.has_problems else "tests": [ground_truth]}
        if isinstance(extra_info, Mapping) and extra_info.get("weights") is not None:
            columns["weights"] = [extra_info["weights"]]
        [item] = self._reader.items([solution_str], None, columns, own_names=True)
        scored = self._batches().result(item, self.deadline)
        self._tell([scored])
        return or_if_failed(scored.reward, score_if_failed, scored.reason)

    def check(self, **columns: Any) -> int:
        """Look at the tests of a data set before the training, so that none is refused in it.

        Args:
            **columns: as for `__call__`, without completions.

        Returns:
            The number of rows.

        Raises:
            UserError: as `__call__` does.
        """
        counts = [len(column) for name, column in columns.items() if self._reader.wants(name)]
        texts = [""] * (counts[0] if counts else 0)
        return len(self._reader.items(texts, texts, columns))

    def close(self) -> None:
        """End the workers."""
        with self._lock:
            runner, self._runner = self._runner, None
            batcher, self._batcher = self._batcher, None
            threads, self._executor = self._executor, None
        if batcher is not None:
            batcher.close()
        if runner is not None:
            runner.close()
        if threads is not None:
            threads.shutdown(wait=False)

    def __enter__(self) -> CodeReward:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- inside ---

    def _scored(self, items: Sequence[Item], seconds: float | None) -> Iterator[tuple[int, Scored]]:
        if seconds is None:  # so that it ends even if every program uses all that it may
            seconds = _SPARE + len(items) * (WALL_FACTOR * self.limits.seconds + 1.0)
        return judged(self._start(), items, self.limits, self.mode, time.monotonic() + seconds)

    def _tell(self, scored: Any) -> None:
        failed = [each.reason for each in scored if each.reward is None]
        if failed:
            warnings.warn(
                f"{len(failed)} programs have no reward ({failed[0]}); they are None, not 0",
                stacklevel=3,
            )

    def _log(self, scored: Sequence[Scored], columns: Mapping[str, Any]) -> None:
        """What TRL shows beside the rewards."""
        known = [each for each in scored if each.verdict is not None]
        log_metric, log_extra = columns.get("log_metric"), columns.get("log_extra")
        if callable(log_metric):
            passed = sum(each.verdict.passed for each in known if each.verdict)
            if known:
                log_metric(f"{self.__name__}/passed", passed / len(known))
            log_metric(f"{self.__name__}/no_verdict", float(len(scored) - len(known)))
        if callable(log_extra):
            names = [each.verdict.outcome.name if each.verdict else "" for each in scored]
            log_extra(f"{self.__name__}/outcome", names)

    def _open(self) -> None:
        self._lock, self._process = threading.Lock(), os.getpid()
        self._runner = self._batcher = self._executor = None

    def _start(self) -> Runner:
        """The runner of this process."""
        if self._process != os.getpid():  # a fork: its threads and workers are the parent's
            self._open()
        with self._lock:
            if self._runner is None:
                self._runner = Runner(**self._options)
            return self._runner

    def _batches(self) -> Batcher:
        self._start()
        with self._lock:
            if self._batcher is None:
                self._batcher = Batcher(self._scored)
            return self._batcher

    def _threads(self) -> ThreadPoolExecutor:
        self._start()
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(_ASYNC_THREADS, "code-reward")
            return self._executor

    def __getstate__(self) -> dict[str, Any]:
        """What a copy in another process is made of: all but workers and threads."""
        left = ("_lock", "_process", "_runner", "_batcher", "_executor")
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


class AsyncCodeReward:
    """A `CodeReward` whose call is awaited; an event loop goes on meanwhile."""

    def __init__(self, reward: CodeReward) -> None:
        self.reward, self.__name__ = reward, reward.__name__

    async def __call__(
        self, completions: Sequence[Any], prompts: Sequence[Any] | None = None, **columns: Any
    ) -> list[float | None]:
        """See `CodeReward.__call__`."""
        scored = await self.reward.score_async(completions, prompts, **columns)
        self.reward._log(scored, columns)
        return [each.reward for each in scored]


def _near(mode: str) -> str:
    return f"the nearest: {nearest(mode, MODES)}"
