"""`serve-rewards`: what programs' tests give, over HTTP."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pretrial.cli import options
from pretrial.rewards.code import CodeReward
from pretrial.rewards.completions import Fence
from pretrial.rewards.scoring import Mode
from pretrial.rewards.server import RewardServer
from pretrial.sandbox import Limits


@dataclass(frozen=True)
class Serving:
    """What is served, and where.

    Attributes:
        problems: a source of problems, where requests name them by problem_id; without it they
            bring their tests.
        mode: all is 1 if every test passes and 0 otherwise; share is the share that pass; weighted
            is that share by the weights of the request.
        fence: which block of code of an answer counts; none takes the answer as it stands.
        continue_prompt: put the prompt of the request before the program.
        allow_shared: take asserts that are checked within the program's own process.
        trace: run all tests of a program, also where the first wrong one decides.
        host: address to listen at. Anybody who reaches it can have programs run in the sandbox.
        port: 0 takes a free one.
        queue: programs that may wait at the same time; further requests get 429.
        body_mb: largest request, in MiB.
        deadline: seconds after which a request is answered whatever has been judged by then; 0 is
            as long as the limits of its programs allow.
        seconds: for the tests of one program together.
        memory_mb: of one program, in MiB.
        workers: programs that run at the same time; 0 is one for each core.
        isolation: level of the sandbox: auto, namespaces, rlimits.
        allow_packages: packages that programs may import beside the standard library.
    """

    problems: str = ""
    mode: Mode = "all"
    fence: Fence = "last"
    continue_prompt: bool = False
    allow_shared: bool = False
    trace: bool = False
    host: str = "127.0.0.1"
    port: int = 8300
    queue: int = 4096
    body_mb: int = 64
    deadline: float = 0.0
    seconds: float = 4.0
    memory_mb: int = 512
    workers: int = 0
    isolation: str = "auto"
    allow_packages: tuple[str, ...] = ()


def serve_rewards(argv: Sequence[str]) -> int:
    """Serves until it is stopped."""
    told = "run programs on their tests for trainers: POST /score, see docs/rewards.md"
    given = options.parse(Serving, argv, prog="pretrial serve-rewards", description=told)
    reward = CodeReward(
        given.problems or None,
        mode=given.mode,
        fence=given.fence,
        continue_prompt=given.continue_prompt,
        allow_shared=given.allow_shared,
        trace=given.trace,
        limits=Limits(seconds=given.seconds, memory_mb=given.memory_mb),
        deadline=given.deadline or None,
        workers=given.workers or None,
        isolation=given.isolation,
        packages=given.allow_packages,
    )
    with reward:
        server = RewardServer(
            reward, given.host, given.port, most_waiting=given.queue, body_mb=given.body_mb
        )
        print(f"rewards ({given.mode}) at {server.url}/score, isolation {reward.isolation}")
        print("Ctrl-C ends it", flush=True)
        _serve(server)
    return 0


def _serve(server: RewardServer) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print("pretrial: stopped; what runs has a few seconds", file=sys.stderr, flush=True)
    finally:
        server.shut()
