"""From a verdict to a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pretrial.errors import UserError
from pretrial.sandbox.outcome import TestResult, Verdict

Mode = Literal["all", "share", "weighted"]
MODES = ("all", "share", "weighted")


class NoVerdictError(RuntimeError):
    """The sandbox failed, so that nothing is known of a program, where a number must be given."""


@dataclass(frozen=True)
class Scored:
    """What came of one completion.

    Attributes:
        reward: from 0 to 1; None where the sandbox failed and nothing is known of the program.
        reason: why there is no reward; "" where there is one.
        program: that was run; None where the completion holds none.
        verdict: on the program as a whole; None where there is no reward.
        tests: what came of each test; empty where there is no reward.
    """

    reward: float | None
    reason: str = ""
    program: str | None = None
    verdict: Verdict | None = None
    tests: tuple[TestResult, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A dict that JSON can hold."""
        return {
            "reward": self.reward,
            "reason": self.reason,
            "outcome": self.verdict.outcome.name if self.verdict else None,
            "tests": [
                {
                    "outcome": each.outcome.name,
                    "kind": each.subtype,
                    "message": each.message,
                    "line": each.line,
                }
                for each in self.tests
            ],
        }


def value_of(
    tests: Sequence[TestResult], mode: Mode, weights: Sequence[float] | None = None
) -> float:
    """The reward of a program.

    Args:
        tests: what came of each test.
        mode: "all" is 1 if every test passes and 0 otherwise; "share" the share of tests that pass;
            "weighted" the share of the weight of those that pass.
        weights: one a test, for "weighted".
    """
    passed = [each.passed for each in tests]
    if mode == "all":
        return float(bool(passed) and all(passed))
    if mode == "share":
        return sum(passed) / len(passed)
    assert weights is not None
    right = math.fsum(weight for weight, good in zip(weights, passed, strict=True) if good)
    return 1.0 if all(passed) else right / math.fsum(weights)


def or_if_failed(reward: float | None, score_if_failed: float | None, why: str = "") -> float:
    """A reward, or what stands for one that there is not.

    Raises:
        NoVerdictError: there is neither; it says why.
    """
    if reward is not None:
        return reward
    if score_if_failed is None:
        told = f" ({why})" if why else ""
        raise NoVerdictError(f"no verdict on a program{told}: set score_if_failed to go on without")
    return score_if_failed


def check_weights(weights: Any, num_tests: int) -> list[float]:
    """The weights of a problem's tests as floats.

    Raises:
        UserError: there is not one a test, or one is negative or no number, or all are 0.
    """
    try:
        found = [float(weight) for weight in weights]
    except (TypeError, ValueError):
        raise UserError(f"weights are a list of numbers, one a test, not {weights!r:.60}") from None
    if len(found) != num_tests:
        raise UserError(f"there are {len(found)} weights for {num_tests} tests: give one a test")
    if not all(0 <= weight < math.inf for weight in found) or not sum(found) > 0:
        raise UserError(f"weights are not negative, and not all 0: {found!r:.60}")
    return found
