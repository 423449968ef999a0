"""Budgets: one unit, everything counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pretrial.errors import UserError

Unit = Literal["steps", "examples", "epochs", "tokens", "flops", "seconds"]
_SUFFIX: dict[str, tuple[Unit, float]] = {
    "steps": ("steps", 1),
    "examples": ("examples", 1),
    "epoch": ("epochs", 1),
    "epochs": ("epochs", 1),
    "tokens": ("tokens", 1),
    "flops": ("flops", 1),
    "s": ("seconds", 1),
    "m": ("seconds", 60),
    "min": ("seconds", 60),
    "h": ("seconds", 3600),
}


@dataclass(frozen=True)
class Budget:
    """How much work may be spent.

    Attributes:
        amount: in `unit`.
        unit: "steps" (optimiser steps), "examples", "epochs" (of a stage's own data), "tokens" (as
            the method counts them in its batches), "flops" (forward and backward, measured) or
            "seconds" (wall clock).
    """

    amount: float
    unit: Unit = "steps"

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Reads "300steps", "3epochs", "2e6tokens", "10min", "1.5h", "90s", "1e12flops".

        Raises:
            UserError: not of that form.
        """
        for suffix in sorted(_SUFFIX, key=len, reverse=True):
            if text.endswith(suffix):
                unit, factor = _SUFFIX[suffix]
                try:
                    amount = float(text.removesuffix(suffix).strip()) * factor
                except ValueError:
                    break
                if 0 < amount < math.inf:
                    return cls(amount, unit)
        raise UserError(
            f"a budget is a positive number and a unit, such as 10min, 90s, 2h, 300steps, 3epochs,"
            f" 2e6tokens, 1e12flops or 5000examples, not {text!r}"
        )

    def split(self, ratios: Sequence[float]) -> list[Budget]:
        """Parts in these proportions that add up to it; steps and examples come whole.

        Raises:
            UserError: there are fewer steps than parts.
        """
        ends = [
            self.amount * sum(ratios[: place + 1]) / sum(ratios) for place in range(len(ratios))
        ]
        if self.unit in ("steps", "examples"):
            ends = [round(end) for end in ends]
        parts = [end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
        if min(parts) <= 0:
            raise UserError(
                f"{self.amount:g} {self.unit} cannot be shared out over {len(parts)} stages: give"
                " more, or set other ratios"
            )
        return [Budget(part, self.unit) for part in parts]


@dataclass
class Spent:
    """What has been spent so far, in all units at once, and on what.

    `by_purpose[purpose][unit]`; purposes are "train", "sample", "execute", "teacher", ...
    """

    by_purpose: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, purpose: str, **amounts: float) -> None:
        """Books `amounts` (unit=number) under a purpose."""
        row = self.by_purpose.setdefault(purpose, {})
        for unit, amount in amounts.items():
            row[unit] = row.get(unit, 0.0) + amount

    def seconds(self) -> dict[str, float]:
        """Seconds by purpose."""
        return {purpose: row.get("seconds", 0.0) for purpose, row in self.by_purpose.items()}

    def total(self, unit: str) -> float:
        """Sum over all purposes, in `unit`."""
        return sum(row.get(unit, 0.0) for row in self.by_purpose.values())
