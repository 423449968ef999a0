"""The README's table of trials, rendered from the records between two markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pretrial.compare.report.svg import number, unit_name
from pretrial.compare.report.trial_page import headline
from pretrial.errors import UserError

BEGIN = "<!-- trials: rendered by `pretrial report --readme README.md` -->"
END = "<!-- end of trials -->"


def table(records: Sequence[Mapping[str, Any]], folder: str = "results") -> str:
    """The table in Markdown, a row a trial; each links to its record in `folder`.

    Comparisons are left to the gallery. Without trials it is empty.
    """
    records = [record for record in records if record["kind"] == "trial"]
    if not records:
        return ""
    lines = [
        "| Trial | Against | Metric | Means | Difference | Matters | Verdict | Seeds | Budget |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        cells = [
            f"[{_name(record)}]({folder}/{record['slug']}.json)",
            *_result(record),
            record["verdict"],
            str(max(len(arm["seeds"]) for arm in record["arms"])),
            f"{number(record['budget']['amount'])} {unit_name(record['budget']['unit'])}",
        ]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "".join(f"{line}\n" for line in lines)


def _result(record: Mapping[str, Any]) -> list[str]:
    """Against what, by which metric, both means, their difference, and what would matter."""
    useful = number(record["useful"]["value"]) if record["useful"]["value"] else "not stated"
    arms = {arm["name"]: arm for arm in record["arms"]}
    found = headline(record)
    if found is None:
        label = arms[record["baseline"]]["label"] if record["baseline"] in arms else ""
        return [label, record["metric"], "", "", useful]
    claim, interval = found
    ours, theirs = arms[claim["arm"]], arms[claim["baseline"]]
    means = [number(float(np.mean(arm["metrics"][claim["metric"]]))) for arm in (ours, theirs)]
    ends = ""
    if claim["difference"]["low"] is not None:
        ends = f" ({number(interval.low)} to {number(interval.high)})"
    return [
        theirs["label"],
        f"{claim['metric']} ({claim['expect']} expected)",
        " against ".join(means),
        f"{number(interval.value)}{ends}",
        useful,
    ]


def _name(record: Mapping[str, Any]) -> str:
    """What the method's title says before a colon, or else its slug; and the trial's own name."""
    slug = record["setting"]["slugs"][0]
    name, colon, _ = record["title"].partition(":")
    further = record["slug"].removeprefix(slug).removeprefix("-")
    return (name if colon else slug) + (f", {further}" if further else "")


def render(text: str, records: Sequence[Mapping[str, Any]], folder: str = "results") -> str:
    """The README with its table rendered anew.

    Raises:
        UserError: the markers are missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"the README needs the lines {BEGIN!r} and {END!r} around its table")
    return f"{before}{BEGIN}\n{table(records, folder)}{END}{after}"


def render_file(path: Path, records: Sequence[Mapping[str, Any]], folder: str = "results") -> str:
    """The same for a file, which is read but not written."""
    return render(path.read_text(encoding="utf-8"), records, folder)
