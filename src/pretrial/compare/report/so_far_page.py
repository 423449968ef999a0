"""The page of a trial that is still held: what its jobs have given, and that nothing is decided."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pretrial.compare.recording import arm_row
from pretrial.compare.report.page import Cell, Page
from pretrial.compare.report.plots import Points
from pretrial.compare.report.svg import number
from pretrial.compare.report.trial_page import curve_plots, tones
from pretrial.compare.so_far import SoFar

_EVERY = 10.0  # seconds between two loadings of the page
_PAUSE = 3.0  # seconds between two writings, where jobs end faster


class ProvisionalPage:
    """The page in its place, written anew as jobs end; the page of the record takes its place.

    Args:
        folder: of the pages.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: SoFar | None = None
        self._written = -_PAUSE

    def renew(self, so_far: SoFar) -> None:
        """Takes what there is now."""
        self._last = so_far
        if time.monotonic() - self._written >= _PAUSE:
            self._write(so_far, _EVERY)
            self._written = time.monotonic()

    def stop(self) -> None:
        """The trial was stopped: the page says so, with the newest there is, and stands still."""
        if self._last is not None:
            self._write(self._last, 0.0)

    def _write(self, so_far: SoFar, every: float) -> None:
        name = "-".join(filter(None, [*so_far.setting.slugs, so_far.trial.name]))
        so_far_page(so_far, every).write(self._folder / f"{name}.html")


def so_far_page(so_far: SoFar, every: float = 0.0) -> Page:
    """The page.

    Args:
        so_far: what there is.
        every: seconds between two loadings; 0 where the trial was stopped.
    """
    trial = so_far.trial
    rows = _rows(so_far)
    page = Page(trial.title, lead=trial.question, headline=_headline(so_far, bool(every)))
    if every:
        page.live(every, time.time())
    page.text(
        "This page is provisional: seeds are looked at when there are enough of them, and only then"
        " is anything decided. `pretrial trial` with the same words goes on where it was stopped."
    )
    _arms(page, so_far, rows)
    _differences(page, so_far, rows)
    record = {
        "arms": rows,
        "baseline": trial.reference().name,
        "budget": {"unit": trial.budget.unit},
    }
    plots = curve_plots(record)
    if plots:
        caption = "Means over the seeds that are done; bands reach from the lowest to the highest."
        page.heading("Training").plot(*plots, caption=caption)
    return page


def _headline(so_far: SoFar, going_on: bool) -> str:
    looks = [
        f"not decided by {look['seeds']} seeds" for look in so_far.looks if not look["decision"]
    ]
    state = "Provisional" if going_on else "Stopped"
    told = f"{state}: {so_far.done} of {so_far.total} jobs of this step are done"
    return f"{told}; {looks[-1] if looks else 'nothing is decided'}."


def _rows(so_far: SoFar) -> list[dict[str, Any]]:
    """The arms that have anything, as a record has them; pilot seeds where there are no others."""
    rows = []
    for arm in so_far.trial.arms:
        ran = [seed for name, seed in so_far.results if name == arm.name]
        seeds = [seed for seed in so_far.setting.seeds if seed in ran] or ran
        if seeds:
            rows.append(arm_row(arm, seeds, so_far.results))
    return rows


def _arms(page: Page, so_far: SoFar, rows: Sequence[Mapping[str, Any]]) -> None:
    metric = so_far.trial.metric
    shown: list[list[Cell]] = []
    for row in rows:
        pilots = not set(row["seeds"]) & set(so_far.setting.seeds)
        seeds = f"{len(row['seeds'])} of the pilots" if pilots else str(len(row["seeds"]))
        seconds = fmean(row["seconds"])
        shown.append([row["label"], row["role"], fmean(row["metrics"][metric]), seeds, seconds])
    values = {row["label"]: row["metrics"][metric] for row in rows}
    if not values:
        return
    tone = tones({"arms": rows, "baseline": so_far.trial.reference().name})
    plot = Points(
        {label: fmean(found) for label, found in values.items()},
        metric,
        title="Arms so far",
        zero=False,
        better=so_far.trial.direction,
        tones={row["label"]: tone[row["name"]] for row in rows},
        seeds=values,
    )
    page.heading("So far").plot(plot)
    page.table(["arm", "role", metric, "seeds", "seconds a run"], shown, "Means over seeds.")


def _differences(page: Page, so_far: SoFar, rows: Sequence[Mapping[str, Any]]) -> None:
    """The primary claim, seed by seed."""
    trial, arms = so_far.trial, {row["name"]: row for row in rows}
    claims = trial.claims_of([arm for arm in trial.arms if arm.name in arms])
    if not claims:
        return
    claim = claims[0]
    ours, theirs = (
        dict(zip(arms[name]["seeds"], arms[name]["metrics"][claim.metric], strict=True))
        for name in (claim.arm, claim.baseline)
    )
    pairs = {f"seed {seed}": ours[seed] - theirs[seed] for seed in ours if seed in theirs}
    if not pairs:
        return
    label = f"{arms[claim.arm]['label']} \u2212 {arms[claim.baseline]['label']}"
    band = 0.0 if trial.relative else trial.useful
    page.plot(
        Points(pairs, f"difference in {claim.metric}", label, better=claim.expect, band=band),
        caption=f"By seed; their mean is {number(fmean(pairs.values()))}. The grey band is what is"
        " too small to matter.",
    )
