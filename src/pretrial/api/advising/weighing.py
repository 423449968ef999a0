"""What came out of all tries: curves with intervals, and what to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pretrial.api.advising.choosing import Try
from pretrial.evaluate.intervals import Interval, bootstrap_difference, bootstrap_mean

_WORTH = 0.01  # of accuracy, from which on more labels are said to help
_ERROR = 0.05


@dataclass(frozen=True)
class Series:
    """What one thing reached, with several numbers of labels.

    Attributes:
        label: what it is called.
        floor: whether it needs no training of networks.
        items: by number of labels a value a test row, the first ones.
        notes: by number of labels, such as how long it was trained.
        seconds: of all of it.
    """

    label: str
    floor: bool
    items: Mapping[int, Sequence[float]]
    notes: Mapping[int, str]
    seconds: float

    def at(self, size: int) -> Interval:
        """The mean with so many labels, with its interval over the test rows."""
        return _mean_of(tuple(self.items[size]))


@cache
def _mean_of(items: tuple[float, ...]) -> Interval:
    return bootstrap_mean(items, num_resamples=1000)


def series_of(one: Try, result: Mapping[str, Any]) -> list[Series]:
    """What a try's result holds."""
    return [
        Series(
            label,
            one.way == "floor",
            {int(size): point["items"] for size, point in points.items()},
            {int(size): point["note"] for size, point in points.items()},
            result.get("seconds", 0.0),
        )
        for label, points in result.get("series", {}).items()
    ]


@dataclass(frozen=True)
class Advice:
    """What to take.

    Attributes:
        headline: in a sentence, the figures with it.
        further: what else the curves say.
        take: label of what is advised.
        helps: whether it beats what needs no training beyond chance.
    """

    headline: str
    further: tuple[str, ...]
    take: str
    helps: bool


def weigh(found: Sequence[Series], size: int, labelled: bool) -> Advice:
    """What to take, by the largest number of labels.

    Args:
        found: all series; there is a floor.
        size: the largest number of labels.
        labelled: accuracy of labels counts; else bits per byte of texts.
    """
    sign = 1.0 if labelled else -1.0
    metric = "accuracy" if labelled else "bits per byte"
    floor = _best([each for each in found if each.floor], size, sign)
    assert floor is not None
    tried = [each for each in found if not each.floor and size in each.items]
    best = _best(tried, size, sign)
    if best is None:
        text = f"Nothing was trained in this time: take {floor.label} ({_of(floor, size, metric)})."
        return Advice(text, (), floor.label, False)
    lead = _lead(best, floor, size, sign, len(tried))
    number = min(len(best.items[size]), len(floor.items[size]))
    what = "rows" if labelled else "texts"
    ends = f"{_number(lead.low)} to {_number(lead.high)}"
    if lead.low > 0:
        headline = (
            f"Take {best.label}: {metric} {best.at(size).value:.3f} against"
            f" {floor.at(size).value:.3f} of {floor.label}, better by {_number(lead.value)}"
            f" ({ends}) on {number} {what} that were not learnt from."
        )
        take, helps = best.label, True
    else:
        ahead = "beats it" if lead.value <= 0 else "is shown to beat it"
        headline = (
            f"Take {floor.label}: {metric} {floor.at(size).value:.3f}, and nothing that was tried"
            f" {ahead}; the best, {best.label}, came to {best.at(size).value:.3f} (difference"
            f" {ends}, on {number} {what})."
        )
        take, helps = floor.label, False
    further = _further(found, size, sign, take, len(tried)) if labelled else ()
    return Advice(headline, further, take, helps)


def _best(found: Sequence[Series], size: int, sign: float) -> Series | None:
    able = [each for each in found if size in each.items]
    return max(able, key=lambda each: sign * _mean(each.items[size]), default=None)


def _mean(items: Sequence[float]) -> float:
    return sum(items) / len(items)


def _lead(ours: Series, theirs: Series, size: int, sign: float, num_tried: int) -> Interval:
    """By how much ours is better, over the rows that both were asked.

    The interval is corrected for how many were tried, since the best of them was chosen.
    """
    number = min(len(ours.items[size]), len(theirs.items[size]))
    pairs = [[sign * value for value in each.items[size][:number]] for each in (ours, theirs)]
    return bootstrap_difference(*pairs, confidence=1 - _ERROR / max(num_tried, 1))


def _further(
    found: Sequence[Series], size: int, sign: float, take: str, num_tried: int
) -> tuple[str, ...]:
    """What fewer labels change, and whether more would help."""
    sizes = sorted({n for each in found for n in each.items})
    told = []
    small = sizes[0]
    floor = _best([each for each in found if each.floor], small, sign)
    best = _best([each for each in found if not each.floor], small, sign)
    if small < size and floor is not None and best is not None:
        lead = _lead(best, floor, small, sign, num_tried)
        what = "is not told apart from"
        if lead.low > 0 or lead.high < 0:
            what = "leads" if lead.low > 0 else "is behind"
        told.append(
            f"With {small} labels {best.label} ({best.at(small).value:.3f}) {what} {floor.label}"
            f" ({floor.at(small).value:.3f}): difference {_number(lead.low)} to"
            f" {_number(lead.high)}."
        )
    own = next(each for each in found if each.label == take)
    before = [n for n in sorted(own.items) if n < size]
    if before and size in own.items:
        gain = own.at(size).value - own.at(before[-1]).value
        helps = "more labels should help" if gain > _WORTH else "more labels would help little"
        if own.at(size).value > 1 - _WORTH:
            helps = "there is nothing left to gain"
        told.append(f"From {before[-1]} to {size} labels {take} gained {_number(gain)}: {helps}.")
    return tuple(told)


def _of(series: Series, size: int, metric: str) -> str:
    return f"{metric} {series.at(size).value:.3f}"


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-0.000", "0.000")
