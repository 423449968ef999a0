"""Do small trials predict larger ones? The same pairs of arms at 1, 3 and 9 times the budget.

    python bench/small_trials.py --hours 7            holds what is missing; stopped, it goes on
    python bench/small_trials.py --report             writes docs/do-small-trials-predict.md

A pair is a method and its main baseline, each at its own default settings, with three seeds at each
budget; no gate and no verdict, since the question is of the sign. What is measured goes to
results/small-trials.json, pair by pair.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from pretrial import discover
from pretrial.compare.engine import Placement, hold
from pretrial.compare.report.plots import Points
from pretrial.compare.setting import Setting
from pretrial.environment import commit
from pretrial.errors import UserError
from pretrial.files import write_whole
from pretrial.train.budget import Budget

ROOT = Path(__file__).parents[1]
FACTORS = (1, 3, 9)
SEEDS = (9101, 9102, 9103)  # of no trial and no pilot
# further trials of a method, beside its first
FURTHER: Mapping[str, Mapping[str, Any]] = {
    "mp3": {"track": "words"},
    "polycom": {"part": "functions"},
    "yi": {"which": "lengthen"},
}


def pairs() -> list[tuple[str, Setting]]:
    """Every trial's primary pair, by a name."""
    found = []
    for slug in discover.methods():
        function = discover.load(slug).trial
        if function is None:
            continue
        for options in [{}, *([FURTHER[slug]] if slug in FURTHER else [])]:
            setting = Setting((slug,), options, SEEDS)
            trial = setting.make()
            claims = trial.claims_of(trial.choose())
            arms = [trial.arm(name) for name in claims[0][:2]] if claims else []
            if len(arms) == 2 and all(arm.trains for arm in arms):
                name = f"{slug}-{trial.name}" if trial.name else slug
                found.append((name, dataclasses.replace(setting, arms=claims[0][:2])))
    return found


def measure(setting: Setting, factor: int, runs: Path) -> dict[str, Any]:
    """The difference of a pair by seed, positive where the method is better, at one budget."""
    trial = setting.make()
    budget = Budget(trial.budget.amount * factor, trial.budget.unit)
    record = hold(dataclasses.replace(setting, budget=budget), Placement(runs, quiet=True))
    claim = trial.claims_of(trial.choose(setting.arms))[0]
    arms = {arm["name"]: arm["metrics"][claim.metric] for arm in record["arms"]}
    sign = 1 if claim.expect == "higher" else -1
    values = zip(arms[claim.arm], arms[claim.baseline], strict=True)
    return {
        "gains": [sign * (ours - theirs) for ours, theirs in values],
        "metric": claim.metric,
        "arms": [claim.arm, claim.baseline],
        "seconds": record["wall_seconds"],
        "commits": record["commits"],
    }


def hold_all(path: Path, runs: Path, hours: float) -> None:
    """Measures what is missing, all pairs at the smallest budget first, until the time is over."""
    known = json.loads(path.read_text()) if path.exists() else {"pairs": {}}
    until = time.monotonic() + 3600 * hours
    for factor in FACTORS:
        for name, setting in pairs():
            row = known["pairs"].setdefault(
                name, {"family": discover.find(setting.lead).family, "budgets": {}}
            )
            if str(factor) in row["budgets"] or time.monotonic() > until:
                continue
            try:
                row["budgets"][str(factor)] = measure(setting, factor, runs)
            except UserError as error:
                print(f"{name} at {factor} times its budget: {error}", flush=True)
                continue
            write_whole(path, json.dumps(known, indent=1) + "\n")
            print(f"{name} x {factor}: {row['budgets'][str(factor)]['gains']}", flush=True)


def agreement(pairs: Sequence[Mapping[str, Any]], small: int, large: int) -> tuple[int, int]:
    """Pairs whose sign at the small budget is that at the large one, and pairs with both."""
    both = [p["budgets"] for p in pairs if {str(small), str(large)} <= set(p["budgets"])]
    means = [[np.mean(b[str(f)]["gains"]) for f in (small, large)] for b in both]
    return sum((low > 0) == (high > 0) for low, high in means), len(both)


def report(path: Path, page: Path) -> None:
    """Writes the page and its picture from what was measured.

    Raises:
        UserError: fewer than ten pairs have all budgets.
    """
    found = list(json.loads(path.read_text())["pairs"].items())
    whole = [(n, p) for n, p in found if len(p["budgets"]) == len(FACTORS)]
    if len(whole) < 10:
        raise UserError(f"{len(whole)} pairs have all budgets, and ten are needed: hold more")
    lines = ["| pairs | budgets | same sign | 95 % interval |", "|---|---|---|---|"]
    groups = {"all": whole}
    for name, pair in whole:
        groups.setdefault(f"family {pair['family']}", []).append((name, pair))
        groups.setdefault(f"metric {pair['budgets']['1']['metric']}", []).append((name, pair))
    for label, members in groups.items():
        for small in FACTORS[:-1]:
            same, of = agreement([p for _, p in members], small, FACTORS[-1])
            ends = binomtest(same, of).proportion_ci(method="wilson")
            lines.append(
                f"| {label} | {small} and {FACTORS[-1]} | {same} of {of} |"
                f" {ends.low:.0%} to {ends.high:.0%} |"
            )
    text = page.read_text().split("<!-- measured -->")[0] if page.exists() else ""
    write_whole(page, f"{text}<!-- measured -->\n\n" + "\n".join(lines) + "\n")
    rows = {
        f"{name}, {factor} x": float(np.mean(pair["budgets"][str(factor)]["gains"]))
        / max(abs(np.mean(pair["budgets"][str(f)]["gains"])) for f in FACTORS)
        for name, pair in whole
        for factor in FACTORS
    }
    drawn = Points(rows, "gain of the method, as a share of its largest", title="Gain by budget")
    write_whole(page.with_suffix(".svg"), drawn.svg())


def main() -> None:
    """Measures, or reports."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hours", type=float, default=7.0)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "small-trials")
    given = parser.parse_args()
    path = ROOT / "results" / "small-trials.json"
    if given.report:
        report(path, ROOT / "docs" / "do-small-trials-predict.md")
        return
    if commit().endswith("+"):
        raise SystemExit("files differ from the commit: commit first")
    hold_all(path, given.runs, given.hours)


if __name__ == "__main__":
    main()
