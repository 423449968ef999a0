"""The page of one run: how it goes or how it went, written as runs/NAME/report.html.

While a run trains, `pretrial report RUN --watch` writes the page anew and the browser loads it anew
every few seconds. It is a file, and a page that was opened as one may not fetch another, so that it
reloads itself whole (`assets/live.js`), keeps the place that was scrolled to and what was opened,
and waits while a text is marked. This needs no server and no port, the page is one file that can be
sent to somebody, and the last version, without the script, stands still.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pretrial.compare.report.page import Cell, Page
from pretrial.compare.report.plots import Curve, Lines, sharing_axes
from pretrial.compare.report.run_folder import UNITS, RunFolder
from pretrial.compare.report.run_words import advice, headline, hints, lower_is_better
from pretrial.compare.report.svg import unit_name
from pretrial.compare.stats import Interval
from pretrial.plain import flat, option_value

NAME = "report.html"
_LAST = ("lr", "grad_norm")  # of what is drawn, these come behind the losses and metrics
_MOST_ROWS, _MOST_FIELDS, _MOST_CHARACTERS = 3, 6, 600
_MOST_FILES, _MOST_PICTURE = 6, 500_000
_MOST_BETWEEN = 12
_CURVES = (
    "Training losses are means over the steps since the row before. Where a log is long, a point is"
    " the mean of several rows and the band reaches from the lowest to the highest."
)


def write_run_page(folder: Path, state: str = "", renewed: float = 0.0) -> Path:
    """Writes the page of a run into its folder, whole or not at all, and returns its path.

    Args:
        folder: of the run.
        state: of the run, where the caller knows it.
        renewed: seconds between two loadings of the page; 0 for one that stands still.

    Raises:
        UserError: the folder holds no run.
    """
    return run_page(RunFolder.read(folder, state), renewed).write(folder / NAME)


def run_page(run: RunFolder, renewed: float = 0.0) -> Page:
    """The page of a run.

    Args:
        run: what its folder tells.
        renewed: seconds between two loadings, while it trains.
    """
    slug = run.record.get("slug", "")
    about = " on ".join(filter(None, [slug, ", ".join(run.data)])) or str(run.folder)
    page = Page(f"{about}: {run.state}", lead=_asked(run), headline=headline(run))
    if renewed and run.state == "training":
        page.live(renewed, time.time())
    page.text(*hints(run))
    _curves(page, run)
    _held_out(page, run)
    _evaluations(page, run)
    _samples(page, run)
    page.heading("What to do next").bullets(*advice(run))
    _spent(page, run)
    _settings(page, run)
    _made_with(page, run)
    return page


def _asked(run: RunFolder) -> str:
    """Budget, data and seed, in a sentence."""
    record = run.record
    if not record:
        return "A job of a trial: its settings are in the trial's record."
    arguments = record.get("arguments", {})
    parts = [
        f"budget {arguments['budget']}" if arguments.get("budget") else "",
        f"{record.get('num_examples', 0):,} examples to train on",
        f"{record.get('num_held_out', 0):,} held out",
        f"from {arguments['init']}" if arguments.get("init") else "from scratch",
        f"seed {arguments.get('seed', 0)}",
    ]
    return ", ".join(filter(None, parts)) + "."


def _curves(page: Page, run: RunFolder) -> None:
    """Every loss and metric that was logged, a plot each, stage by stage."""
    for stage in run.stages:
        page.heading("Training" if len(run.stages) == 1 else f"Training: {stage}")
        metrics = run.metrics(stage)
        plots = [
            Lines(_unnamed(group), "steps", title=_titled(name, group))
            for name in sorted(metrics, key=_place)
            for group in sharing_axes(metrics[name])
        ]
        page.plot(*plots, caption=_CURVES if stage == run.stages[-1] else "")
    for names, rows in run.between_steps().items():
        shown = [*rows[: _MOST_BETWEEN // 2], *rows[_MOST_BETWEEN // 2 :][-_MOST_BETWEEN // 2 :]]
        cut = f", {len(shown)} of {len(rows)} rows" if len(shown) < len(rows) else ""
        page.table(names, [[_cell(row[name]) for name in names] for row in shown], f"Logged{cut}.")


def _place(name: str) -> tuple[bool, bool, bool]:
    """Where a metric stands: losses first, learning rates and norms of gradients last."""
    last = name.startswith(_LAST)
    return last, name != "loss", not name.endswith("loss")


def _unnamed(group: Mapping[str, Curve]) -> Mapping[str, Curve]:
    """The curves; one alone needs no legend beside the title."""
    return group if len(group) > 1 else {"": next(iter(group.values()))}


def _titled(name: str, group: Mapping[str, object]) -> str:
    """The title of a plot; it says which way is better where a name tells."""
    better = " (lower is better)" if lower_is_better(name) else ""
    alone = f", {next(iter(group))}" if len(group) == 1 and not name.startswith(_LAST) else ""
    return f"{name}{alone}{better}"


def _cell(value: Any) -> Cell:
    return value if isinstance(value, str | int | float | None) else json.dumps(value)


def _held_out(page: Page, run: RunFolder) -> None:
    """What the evaluations gave: at first, at best where a name tells what is, at last."""
    rows: list[list[Cell]] = []
    for stage in run.stages:
        for name, found in run.held_out(stage).items():
            lowest: tuple[Cell, Cell] = (None, None)
            if lower_is_better(name):
                step, value = min(found, key=lambda pair: pair[1])
                lowest = value, step
            rows.append([name, found[0][1], *lowest, found[-1][1], found[-1][0]])
            if len(run.stages) > 1:
                rows[-1].insert(0, stage)
    if rows:
        header = ["metric", "first", "lowest", "at step", "last", "at step"]
        header = ["stage", *header] if len(run.stages) > 1 else header
        page.heading("On held-out data").table(header, rows)


def _evaluations(page: Page, run: RunFolder) -> None:
    rows: list[list[Cell]] = [
        [found["task"], name, Interval(value["value"], value["low"], value["high"])]
        for found in run.evaluations()
        for name, value in found["metrics"].items()
    ]
    if rows:
        caption = "95 % intervals over the items."
        page.heading("Evaluation").table(["task", "metric", "value"], rows, caption=caption)


def _samples(page: Page, run: RunFolder) -> None:
    """The first rows of what it wrote, and its pictures."""
    shown = [html for path in run.samples()[:_MOST_FILES] if (html := _sample(path, run.folder))]
    if shown:
        page.heading("Samples").html("".join(shown))


def _sample(path: Path, folder: Path) -> str:
    """One file as HTML; "" where it holds nothing that can be shown."""
    name = f'<p class="caption">{escape(str(path.relative_to(folder)))}</p>'
    if path.suffix == ".png":
        if path.stat().st_size > _MOST_PICTURE:
            return ""
        encoded = base64.b64encode(path.read_bytes()).decode()
        return f'{name}<img alt="{escape(path.name)}" src="data:image/png;base64,{encoded}">'
    rows = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for _, line in zip(range(_MOST_ROWS), file, strict=False):
            try:
                row = json.loads(line)
            except ValueError:
                return ""
            told = row.items() if isinstance(row, dict) else ()
            fields = [(key, value) for key, value in told if isinstance(value, str | int | float)]
            if not any(isinstance(value, str) for _, value in fields):
                return ""
            shown = "\n".join(f"{key}: {_short(value)}" for key, value in fields[:_MOST_FIELDS])
            rows.append(f"<pre>{escape(shown)}</pre>")
    return f'<div class="sample">{name}{"".join(rows)}</div>' if rows else ""


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}\u2026"


def _spent(page: Page, run: RunFolder) -> None:
    spent = run.spent
    if not spent:
        return
    known = ("seconds", "steps", *UNITS[:3])
    units = [unit for unit in known if any(unit in amounts for amounts in spent.values())]
    rows: list[list[Cell]] = [
        [purpose, *(_amount(amounts, unit) for unit in units)] for purpose, amounts in spent.items()
    ]
    caption = "" if run.state == "finished" else "Up to the last checkpoint."
    header = ["purpose", *map(unit_name, units)]
    page.heading("What was spent").table(header, rows, caption=caption)


def _amount(amounts: Mapping[str, float], unit: str) -> float | int | None:
    """An amount; of all units but seconds a whole number."""
    value = amounts.get(unit)
    return value if value is None or unit == "seconds" else round(value)


def _settings(page: Page, run: RunFolder) -> None:
    """All options, those first that differ from the defaults of the method."""
    record = run.record
    if not record:
        return
    given = flat({**record.get("config", {}), **record.get("arguments", {})})
    defaults = flat(record.get("defaults", {}))
    changed = [name for name in given if defaults and given[name] != defaults.get(name)]
    page.heading("Settings")
    if record.get("preset"):
        page.text(f"Preset: {record['preset']}.")
    if changed:
        rows: list[list[Cell]] = [
            [_option(name), option_value(given[name]), option_value(defaults.get(name))]
            for name in changed
        ]
        page.table(["option", "this run", "default"], rows, caption="Different from the default.")
    others = [name for name in given if name not in changed]
    if others:
        text = "\n".join(f"{_option(name)} {option_value(given[name])}" for name in others)
        page.details(f"{len(others)} settings{' at their default' if changed else ''}", text)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _made_with(page: Page, run: RunFolder) -> None:
    environment: Mapping[str, Any] = run.record.get("environment", {})
    machine = [str(environment[key]) for key in ("processor", "system") if environment.get(key)]
    others = ("processor", "system", "cores")
    versions = [f"{name} {value}" for name, value in environment.items() if name not in others]
    cores = f"{environment['cores']} cores" if "cores" in environment else ""
    commit = f"commit {run.record['commit']}" if run.record.get("commit") else ""
    if environment:
        told: Sequence[str] = [", ".join(versions), commit, ", ".join([*machine, cores])]
        page.footer(" \u00b7 ".join(filter(None, told)))
