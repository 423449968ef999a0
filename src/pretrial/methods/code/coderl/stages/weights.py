"""What a sampled program weighs in the policy gradient: its return, spread over its tokens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch

from pretrial.errors import UserError
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.data.samples import Sample
from pretrial.objectives.reinforce import (
    advantage,
    group_advantages,
    linear_weights,
    prefix_credit,
)

Scored = tuple[Sample, list[float]]  # a program, and a weight for each of its tokens
Scores = Callable[[Sequence[Sample]], list[torch.Tensor]]  # q(w_t) of a critic


def check(config: Config) -> None:
    """Refuses settings that do not go together.

    Raises:
        UserError: a share of the tests is to be compared with a greedy program's outcome.
    """
    if config.reward == "share" and config.returns == "relative":
        raise UserError(
            "with --reward share no greedy program is the baseline: give --returns group,"
            " leave-one-out or absolute"
        )


def weigh(samples: Sequence[Sample], config: Config, scores: Scores) -> list[Scored]:
    """Samples with the weights of their tokens, those left out that weigh nothing.

    Args:
        samples: with an outcome, none of them greedy; of all problems.
        config: `returns`, `reward` and `token_weights`.
        scores: the critic's, asked only where `token_weights` is "critic".
    """
    if config.token_weights == "prefixes":
        return _by_prefixes(samples, config)
    # section 3.2: (r(W) - r(W_b)) * q(w_t), exactly 0 where the outcome is the baseline's
    gains = _gains(samples, config)
    kept = [(s, gain) for s, gain in zip(samples, gains, strict=True) if gain]
    spread = {
        "ones": lambda own: [torch.ones(len(s.ids)) for s in own],
        "linear": lambda own: [linear_weights(len(s.ids)) for s in own],
        "critic": scores,
    }[config.token_weights]([s for s, _ in kept])
    return [(s, (gain * q).tolist()) for (s, gain), q in zip(kept, spread, strict=True)]


def imitated(samples: Sequence[Sample]) -> list[Scored]:
    """Those that passed, each once, with weights 1: rejection fine-tuning."""
    distinct = {(s.problem, tuple(s.ids)): s for s in samples if s.passed}
    return [(s, [1.0] * len(s.ids)) for s in distinct.values()]


def replayed(scored: Sequence[Scored], generator: torch.Generator) -> list[Scored]:
    """Of all programs so far, each once: what is pushed up, and half as many pushed down."""
    distinct = {(s.problem, tuple(s.ids)): (s, weights) for s, weights in scored}
    up = [row for row in distinct.values() if max(row[1]) > 0]
    down = [row for row in distinct.values() if max(row[1]) <= 0]
    chosen = torch.randperm(len(down), generator=generator)[: len(up) // 2]
    return up + [down[i] for i in chosen.tolist()]


def _by_prefixes(samples: Sequence[Sample], config: Config) -> list[Scored]:
    """Weights 1 for what passed; a failed program's are the worth that its tokens lost.

    The worth of a prefix is the mean return of all the problem's programs that begin with it, so
    that a failed program is pushed down where it left what passes, and not before.
    """
    found: list[Scored] = []
    for group in _groups(samples).values():
        own = [samples[i] for i in group]
        returns = [_share(s) if config.reward == "share" else float(s.passed) for s in own]
        credits = prefix_credit([s.ids for s in own], returns)
        found += [
            (s, [1.0] * len(s.ids) if s.passed else credit)
            for s, credit in zip(own, credits, strict=True)
            if s.passed or any(credit)
        ]
    return found


def _gains(samples: Sequence[Sample], config: Config) -> list[float]:
    """r(W) less what `returns` says."""
    if config.returns == "relative":  # of outcomes, as `check` sees to
        return [advantage(s.outcome, s.baseline) for s in samples]
    shared = config.reward == "share"
    returns = [_share(s) if shared else advantage(s.outcome) for s in samples]
    if config.returns == "absolute":
        return returns
    gains = [0.0] * len(samples)
    for group in _groups(samples).values():
        own = group_advantages(
            [returns[i] for i in group], leave_one_out=config.returns == "leave-one-out"
        )
        for i, gain in zip(group, own, strict=True):
            gains[i] = gain
    return gains


def _groups(samples: Sequence[Sample]) -> dict[str, list[int]]:
    """Places of the samples of each problem."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, sample in enumerate(samples):
        groups[sample.problem].append(place)
    return groups


def _share(sample: Sample) -> float:
    """Share of the tests that a program passed; 0 where it did not come to them."""
    tests = sample.verdict.tests
    return sum(tests) / len(tests) if tests else float(sample.passed)
