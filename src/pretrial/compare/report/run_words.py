"""What a run's page says in sentences: how it stands, and what to do next."""

from __future__ import annotations

import shlex

from pretrial import discover
from pretrial.compare.report.run_folder import HELD_OUT, RunFolder
from pretrial.compare.report.svg import number

_WORSE = 1.02  # a held-out loss this much over its lowest has risen
_FALLING = 0.99  # and one that fell to less than this over its last third is still falling
_LOWER = ("loss", "nll", "perplexity", "error", "bits", "wer", "cer")


def lower_is_better(name: str) -> bool:
    """Whether a metric's name says that lower values are the better ones."""
    return any(name.endswith(word) or name.startswith(f"{word}_") for word in _LOWER)


def headline(run: RunFolder) -> str:
    """How the run stands, in a sentence."""
    reached = _reached(run)
    if run.state == "finished":
        steps = f" after {run.spent_of('steps'):,} steps" if run.stages else ""
        return f"Finished{steps}: {reached}." if reached else f"Finished{steps}."
    if not run.stages:
        return "Training has begun." if run.state == "training" else "Nothing is trained yet."
    share = _share(run)
    stage = run.stages[-1]
    step = max(row["step"] for row in run.rows_of(stage))
    at = f"step {step}" + (f" of stage {stage}" if len(run.stages) > 1 else "")
    at += f", {share:.0%} of the budget" if share else ""
    so_far = f"; {reached} so far" if reached else ""
    return f"{run.state.capitalize()}: {at}{_left(run, share)}{so_far}."


def _reached(run: RunFolder) -> str:
    """The loss of the last stage on held-out data, or else in training: first and last."""
    for stage in reversed(run.stages):
        for key, where in ((f"{HELD_OUT}loss", "held-out loss"), ("loss", "training loss")):
            found = [row[key] for row in run.rows_of(stage) if row.get(key) is not None]
            if found:
                start = f", from {number(found[0])}" if len(found) > 1 else ""
                return f"{where} {number(found[-1])}{start}"
    return ""


def _share(run: RunFolder) -> float:
    """How much of the budget is spent, from 0 to 1; 0 where that is not known."""
    if run.budget is None:
        return 0.0
    return min(1.0, run.spent_of(run.budget.unit) / run.budget.amount)


def _left(run: RunFolder, share: float) -> str:
    seconds = run.spent_of("seconds")
    if run.state != "training" or share < 0.02 or not seconds:
        return ""
    left = seconds / share - seconds
    told = f"{left / 60:.0f} minutes" if left >= 90 else f"{left:.0f} seconds"
    return f", about {told} left"


def advice(run: RunFolder) -> list[str]:
    """What to do next: what the curves suggest, then the commands that take this run."""
    folder = shlex.quote(str(run.folder))
    slug = run.record.get("slug", "")
    if run.state == "training":
        return [
            f"It saves every five minutes, and at once on Ctrl-C: the same command goes on."
            f" `pretrial report {folder} --watch` renews this page."
        ]
    if run.state == "stopped":
        whose = "the same command" if slug else "the command of its trial"
        return [f"It is not finished: {whose}, run again, goes on."]
    made = [
        f"Measure it: `pretrial eval {folder}` names the tasks; `--out {folder}/NAME.json` and"
        f" `pretrial report {folder}` show the result here.",
        f"Use it: `pretrial predict {folder} --data DATA`; for other tools, `pretrial export"
        f" {folder} --to FOLDER`.",
    ]
    if slug in discover.methods():
        data = shlex.join(run.data or ["DATA"])
        made.append(
            f"Is the method worth it on these data? `pretrial trial {slug} --data {data}` sets it"
            " against its baseline."
        )
    return made


def hints(run: RunFolder) -> list[str]:
    """What the held-out losses of a finished run suggest."""
    if run.state != "finished":
        return []
    if run.stages and not any(run.held_out(stage) for stage in run.stages):
        return ["Nothing was evaluated on held-out data, so over-fitting would not show."]
    found = run.held_out(run.stages[-1]).get("loss", []) if run.stages else []
    if len(found) < 3:
        return []
    values = [value for _, value in found]
    step, lowest = min(found, key=lambda pair: pair[1])
    if values[-1] > _WORSE * lowest:
        return [
            f"The held-out loss was lowest at step {step} ({number(lowest)}) and rose after: train"
            " less, or on more data."
        ]
    if values[-1] < _FALLING * values[-1 - max(1, len(values) // 3)]:
        return ["The held-out loss was still falling at the end: a larger budget may help."]
    return []
