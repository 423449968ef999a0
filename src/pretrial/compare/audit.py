"""The budget audit: arms that were not given the same are not compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pretrial.errors import UserError
from pretrial.train.budget import Budget

TOLERANCE_RATIO = 0.01

Spending = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Account:
    """What one arm spent with one seed.

    Attributes:
        arm: its name.
        seed: the seed.
        spent: purpose to unit to amount.
        trains: False for arms that must spend nothing.
    """

    arm: str
    seed: int
    spent: Spending
    trains: bool = True

    def amount(self, unit: str, counted: Sequence[str]) -> float:
        """Spent in `unit`, on the purposes counted (all of them where none is named)."""
        return sum(self.by_purpose(unit, counted).values())

    def by_purpose(self, unit: str, counted: Sequence[str]) -> dict[str, float]:
        """The same by purpose."""
        return {
            purpose: row[unit]
            for purpose, row in self.spent.items()
            if row.get(unit) and (not counted or purpose in counted)
        }

    def step(self, unit: str, counted: Sequence[str]) -> float:
        """The mean cost of an optimiser step, below which a budget cannot be met exactly."""
        steps = self.amount("steps", counted)
        return self.amount(unit, counted) / steps if steps else 0.0


def audit(accounts: Sequence[Account], budget: Budget, counted: Sequence[str] = ()) -> float:
    """Checks that all arms spent the same, seed by seed.

    Two arms may differ by 1 % of the dearer one, or by one optimiser step where steps are coarser
    than that.

    Args:
        accounts: of all arms and seeds.
        budget: the trial's; its unit is the one in which arms are equal.
        counted: purposes that must be equal; empty is all.

    Returns:
        The largest difference found, as a share of the dearer arm.

    Raises:
        UserError: two arms differ by more, or an arm that must not spend has spent; it names the
            arms and their amounts by purpose.
    """
    unit = budget.unit
    worst = 0.0
    for account in accounts:
        if not account.trains and account.spent:
            raise UserError(
                f"arm {account.arm} is said to spend nothing, but seed {account.seed} spent"
                f" {describe(account, 'seconds', ())}: drop trains=False"
            )
    for seed in sorted({a.seed for a in accounts}):
        own = [a for a in accounts if a.seed == seed and a.trains]
        if len(own) < 2:
            continue
        dear = max(own, key=lambda a: a.amount(unit, counted))
        cheap = min(own, key=lambda a: a.amount(unit, counted))
        most, least = dear.amount(unit, counted), cheap.amount(unit, counted)
        if most == 0:
            raise UserError(
                f"the budget is in {unit}, but no arm booked any: choose another unit for --budget"
            )
        allowed = max(TOLERANCE_RATIO * most, dear.step(unit, counted), cheap.step(unit, counted))
        if most - least > allowed:
            raise UserError(
                f"the arms did not have the same budget: with seed {seed},"
                f" {dear.arm} spent {describe(dear, unit, counted)} and"
                f" {cheap.arm} {describe(cheap, unit, counted)}; give them the same"
            )
        worst = max(worst, (most - least) / most)
    return worst


def describe(account: Account, unit: str, counted: Sequence[str]) -> str:
    """An amount with its parts, such as "1200 steps (train 1000, critic 200)"."""
    parts = account.by_purpose(unit, counted)
    listed = ", ".join(f"{name} {amount:.6g}" for name, amount in parts.items())
    return f"{account.amount(unit, counted):.6g} {unit}" + (f" ({listed})" if listed else "")
