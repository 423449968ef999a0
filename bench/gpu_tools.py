"""How bench/gpu.py measures: sizes, clocks of a device, turns of several ways, rows of a table."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        width: hidden size of the language model, by default that of SmolLM2-135M, as are the rest.
        layers: of it.
        compile_layers: of a shorter one, as compiling the whole one takes minutes.
        heads: of its queries.
        kv_heads: of its keys and values.
        inner: width of its feed-forward layers.
        vocabulary: of it.
        batch: windows a step.
        length: tokens of a window; twice as many against transformers' Trainer.
        block: steps between two looks at the clock.
        blocks: looks that count, after one block that warms up.
        rounds: turns of each way.
        loop_block: as `block`, for the model of which the loop is most of the work.
        rows: decoded at once, in two measurements.
        samples: of a prompt.
        new_tokens: of a sample.
        mosaic: settings of MosaicBERT.
        mosaic_length: longest text of it, the two special tokens included.
        mosaic_batch: texts a step.
    """

    width: int = 576
    layers: int = 30
    compile_layers: int = 10
    heads: int = 9
    kv_heads: int = 3
    inner: int = 1536
    vocabulary: int = 49152
    batch: int = 8
    length: int = 512
    block: int = 5
    blocks: int = 6
    rounds: int = 2
    loop_block: int = 100
    rows: tuple[int, int] = (64, 512)
    samples: int = 8
    new_tokens: int = 96
    mosaic: dict[str, int] = field(
        default_factory=lambda: {
            "width": 768, "num_layers": 12, "num_heads": 12, "feed_forward": 3072,
        }
    )  # fmt: skip
    mosaic_length: int = 256
    mosaic_batch: int = 64


FULL = Sizes()
TINY = Sizes(
    width=64,
    layers=2,
    compile_layers=2,
    heads=2,
    kv_heads=1,
    inner=128,
    vocabulary=2048,
    batch=2,
    length=32,
    block=2,
    blocks=2,
    loop_block=20,
    rows=(8, 16),
    samples=4,
    new_tokens=8,
    mosaic={"width": 64, "num_layers": 2, "num_heads": 2, "feed_forward": 128},
    mosaic_length=64,
    mosaic_batch=8,
)


@dataclass(frozen=True)
class Setting:
    """Where a part is measured.

    Attributes:
        device: there.
        sizes: how much.
        until: when no further figure is begun, on the clock of `time.monotonic`.
    """

    device: torch.device
    sizes: Sizes
    until: float

    def synchronize(self) -> None:
        """Waits until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def autocast(self) -> torch.autocast:
        """bf16 where torch deems it safe."""
        return torch.autocast(self.device.type, torch.bfloat16)

    def tidy(self) -> None:
        """Gives memory back, and begins to look for the most that is held."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> float | None:
        """The most gigabytes that tensors held since `tidy`; None on the CPU."""
        on_cuda = self.device.type == "cuda"
        return torch.cuda.max_memory_allocated(self.device) / 1e9 if on_cuda else None


class CutError(Exception):
    """The time of a part is over."""


class Clock:
    """Looks at the time every `block` steps, when the device has done all of them.

    Args:
        setting: of the part.
        block: steps.
        until: when steps end with `CutError`.
    """

    def __init__(self, setting: Setting, block: int, until: float) -> None:
        self.setting, self.block, self.until = setting, block, until
        self.steps = 0
        self.marks: list[float] = []

    def tick(self) -> None:
        """For the beginning of each step."""
        if self.steps % self.block == 0:
            self.setting.synchronize()
            now = time.monotonic()
            self.marks.append(now)
            if now > self.until:
                raise CutError
        self.steps += 1

    def seconds(self) -> list[float]:
        """Of a step, for each block but the first, which warms up."""
        return [(end - start) / self.block for start, end in pairwise(self.marks[1:])]


@dataclass
class Found:
    """What several ways to do the same took.

    Attributes:
        figures: of each way, by its name.
        peaks: gigabytes that tensors held at most, where that is known.
        first: seconds of the first block of steps of each way, which warms up.
        cut: there was no time for all rounds.
    """

    figures: dict[str, list[float]]
    peaks: dict[str, float | None] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    cut: bool = False

    def map(self, change: Callable[[float], float]) -> Found:
        """With other figures, such as tokens a second for seconds a step."""
        changed = {name: [change(each) for each in own] for name, own in self.figures.items()}
        return replace(self, figures=changed)

    def rows(self, unit: str) -> list[dict[str, Any]]:
        """A row for each way; the ratio is that of its median to the first way's.

        Raises:
            TimeoutError: a way has no figure.
        """
        for name, figures in self.figures.items():
            if not figures:
                raise TimeoutError(f"there was no time for one figure of {name!r}")
        first = next(iter(self.figures))
        base = statistics.median(self.figures[first])
        return [
            {
                "name": name,
                "unit": unit,
                "median": statistics.median(figures),
                "lowest": min(figures),
                "highest": max(figures),
                "count": len(figures),
                "ratio": statistics.median(figures) / base,
            }
            | ({} if name == first else {"against": first})
            | ({"first_block_s": self.first[name]} if name in self.first else {})
            | ({"peak_gb": self.peaks[name]} if self.peaks.get(name) is not None else {})
            for name, figures in self.figures.items()
        ]


def take_turns(
    setting: Setting, ways: dict[str, Callable[[Clock], object]], block: int, rounds: int
) -> Found:
    """Seconds a step of each way, which takes its steps under the clock that it is given.

    What a way leaves of its share of the time goes to those after it.
    """
    found = Found({name: [] for name in ways})
    left = rounds * len(ways)
    for _ in range(rounds):
        for name, way in ways.items():
            setting.tidy()
            now = time.monotonic()
            clock = Clock(setting, block, now + (setting.until - now) / left)
            try:
                way(clock)
            except CutError:
                found.cut = True
            found.figures[name] += clock.seconds()
            if len(clock.marks) > 1:
                found.first.setdefault(name, clock.marks[1] - clock.marks[0])
            found.peaks[name] = setting.peak()
            left -= 1
    return found


def in_rounds(setting: Setting, ways: dict[str, Callable[[], float]], rounds: int) -> Found:
    """What each way gives a second, in each round after the first, which warms up."""
    found = Found({name: [] for name in ways})
    for number in range(rounds + 1):
        if number > 1 and time.monotonic() > setting.until:
            found.cut = True
            break
        for name, way in ways.items():
            setting.synchronize()
            began = time.monotonic()
            amount = way()
            setting.synchronize()
            if number:
                found.figures[name].append(amount / (time.monotonic() - began))
    return found
