"""The record of a trial, made of the results of its jobs and of what the engine decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretrial import discover
from pretrial.compare import judging, sequential
from pretrial.compare import record as records
from pretrial.compare.audit import Account, audit
from pretrial.compare.numbers import rounded
from pretrial.compare.setting import Setting
from pretrial.compare.trial import Arm, Trial
from pretrial.environment import commit, environment
from pretrial.plain import plain

#: What the jobs gave, by arm and seed; the preparation of a seed is owned by the arm "".
Results = dict[tuple[str, int], Mapping[str, Any]]

_NEXT_BUDGET = 3  # times this one, where more seeds do not help


def make_record(
    setting: Setting, trial: Trial, results: Results, outcome: Mapping[str, Any]
) -> dict[str, Any]:
    """The record.

    Args:
        setting: with seeds, arms and budget filled in.
        trial: made of it.
        results: of all jobs, pilots included.
        outcome: `useful`, and where the trial had them `gate`, `premise`, `looks`, `chosen` (by
            arm, the settings that the pilot seed chose) and `tried` (by arm, what each reached).

    Raises:
        UserError: the arms had unequal budgets.
    """
    accounts = [
        Account(name, seed, result["spent"], trial.arm(name).trains)
        for (name, seed), result in results.items()
        if name
    ]
    unequal = audit(accounts, trial.budget, trial.counted)
    arms = [arm for arm in trial.arms if any(name == arm.name for name, _ in results)]
    chosen = outcome.get("chosen", {})
    rows = [
        arm_row(arm.with_chosen(chosen.get(arm.name, {})), _seeds(arm, setting, results), results)
        for arm in arms
    ]
    groups = groups_of(results)
    counted = [row for row in rows if set(row["seeds"]) <= set(setting.seeds)]
    claims = judging.judge(counted, trial.claims_of(arms), outcome["useful"], groups)
    judged = {claim["metric"] for claim in claims}
    for row in rows:  # no verdict hangs on the items of other metrics
        row["items"] = {name: items for name, items in row["items"].items() if name in judged}
    verdict = _verdict(outcome, claims)
    first = results[arms[0].name, rows[0]["seeds"][0]]
    commits = sorted({r["commit"] for r in results.values() if "commit" in r} | {commit()})
    entry = discover.find(setting.slugs[0])
    return {
        "schema": records.SCHEMA_VERSION,
        "kind": "trial" if len(setting.slugs) == 1 else "comparison",
        "slug": "-".join(filter(None, [*setting.slugs, trial.name, *setting.marks])),
        "title": " · ".join([trial.title, *setting.marks]),
        "family": entry.family,
        "abilities": list(entry.card.abilities),
        "question": trial.question,
        "setting": setting.to_json(),
        "metric": trial.metric,
        "direction": trial.direction,
        "baseline": trial.reference().name,
        "budget": {
            **plain(trial.budget),
            "counted": list(trial.counted),
            "largest_difference_ratio": rounded(unequal),
        },
        "data": {"name": first["data"], "num_train": first["num_train"]},
        "useful": {"value": outcome["useful"], "share": trial.useful if trial.relative else None},
        "gate": outcome.get("gate"),
        "premise": outcome.get("premise"),
        "tuning": _tuning(trial, outcome),
        "looks": outcome.get("looks", []),
        "arms": rows,
        "groups": {name: found for name, found in groups.items() if name in judged},
        "shared": mean_spending([r["spent"] for (name, _), r in results.items() if not name]),
        "claims": claims,
        "verdict": verdict,
        "next": _next(verdict, trial, rows, claims),
        "notes": list(trial.notes),
        "commits": [c for c in commits if c],
        "provisional": any(c.endswith("+") or not c for c in commits),
        "code": setting.code(trial),
        "environment": environment(),
    }


def _seeds(arm: Arm, setting: Setting, results: Results) -> list[int]:
    """The seeds of an arm that count; its pilot seeds where it ran no others."""
    ran = [seed for name, seed in results if name == arm.name]
    return [seed for seed in setting.seeds if seed in ran] or ran


def _verdict(outcome: Mapping[str, Any], claims: Sequence[Mapping[str, Any]]) -> str:
    gate, premise = outcome.get("gate"), outcome.get("premise")
    if gate is not None and not gate["learnt"]:
        return "nothing learnt"
    if (gate is not None and not gate["room"]) or (premise is not None and not premise["passed"]):
        return "premise absent"
    return claims[0]["verdict"] if claims else "undecided"


def _tuning(trial: Trial, outcome: Mapping[str, Any]) -> dict[str, Any] | None:
    if trial.tuning is None or len(trial.tuning.values) < 2 or not outcome.get("chosen"):
        return None
    name = trial.tuning.field
    return {
        "field": name,
        "values": list(trial.tuning.values),
        "reached": {arm: [rounded(v) for v in found] for arm, found in outcome["tried"].items()},
        "chosen": {arm: found[name] for arm, found in outcome["chosen"].items()},
    }


def _next(
    verdict: str,
    trial: Trial,
    rows: Sequence[Mapping[str, Any]],
    claims: Sequence[Mapping[str, Any]],
) -> dict[str, Any] | None:
    """What to try where nothing is decided: seeds or a larger budget, and processor minutes."""
    if verdict in sequential.DECIDED or verdict == "premise absent":
        return None
    names = [claims[0]["arm"], claims[0]["baseline"]] if claims else [trial.reference().name]
    seconds = [row["seconds"] for row in rows if row["name"] in names]
    cheap, dear = (sum(pick(each) for each in seconds) / 60 for pick in (min, max))
    done = claims[0]["seeds"] if claims else 0
    larger = next((look.seeds for look in sequential.LOOKS if look.seeds > done), None)
    if verdict == "undecided" and larger is not None:
        times, seeds, budget = larger - done, larger, 1
    else:
        seeds, budget = (sequential.FEWEST if claims else 2), _NEXT_BUDGET
        times = seeds * budget
    minutes = [rounded(times * each) for each in (cheap, dear)]
    return {"seeds": seeds, "budget_factor": budget, "minutes": minutes}


def groups_of(results: Results) -> dict[str, list[int]]:
    """The groups of the items of each metric that has any; they are the same in all arms."""
    found: dict[str, list[int]] = {}
    for result in results.values():
        found |= result.get("groups", {})
    return found


def arm_row(arm: Arm, seeds: Sequence[int], results: Results) -> dict[str, Any]:
    """One arm of the record, over these seeds."""
    own = [results[arm.name, seed] for seed in seeds]
    names = list(own[0]["metrics"])
    curves = {
        name: records.merge_curves([r["curves"][name] for r in own])
        for name in own[0]["curves"]
        if all(name in r["curves"] for r in own)
    }
    return {
        "name": arm.name,
        "label": arm.label,
        "role": arm.role,
        "method": arm.method,
        "config": plain(arm.config),
        "trains": arm.trains,
        "seeds": list(seeds),
        "parameters": own[0]["parameters"],
        "metrics": {n: [rounded(r["metrics"][n]) for r in own] for n in names},
        "items": {n: [[rounded(v) for v in r["items"][n]] for r in own] for n in own[0]["items"]},
        "spent": mean_spending([r["spent"] for r in own]),
        "seconds": [rounded(r["seconds"]) for r in own],
        "curves": curves,
    }


def mean_spending(rows: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Mean over seeds of what was spent, by purpose and unit."""
    total: dict[str, dict[str, float]] = {}
    for row in rows:
        for purpose, amounts in row.items():
            kept = total.setdefault(purpose, {})
            for unit, amount in amounts.items():
                kept[unit] = kept.get(unit, 0.0) + amount / len(rows)
    return {p: {u: rounded(a) for u, a in row.items()} for p, row in total.items()}
