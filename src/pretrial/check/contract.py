"""What a check looks at, and how it fails."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pretrial import discover
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Trainable

BUDGET = Budget(12, "steps")
_EXAMPLES_OF_A_STAGE = 8


class ContractError(AssertionError):
    """A method does not keep the contract; the message is one sentence that names the mend."""


def require(holds: object, mend: str) -> None:
    """Makes sure that something holds.

    Raises:
        ContractError: it does not.
    """
    if not holds:
        raise ContractError(mend)


@dataclass(frozen=True)
class Part:
    """A stage that was not trained: its name, a copy of its module, and some of its examples."""

    name: str
    module: Trainable
    examples: list[Any]


class Subject:
    """One method at its tiny size; what several checks need is made once.

    Args:
        slug: of the method.
        folder: for its runs; it must be empty.

    Attributes:
        entry: where the method is, and its card as it was read without an import.
        card: the same as the module has it.
        method: the class.
        kind: of its Config.
    """

    def __init__(self, slug: str, folder: Path) -> None:
        self.entry = discover.find(slug)
        loaded = discover.load(slug)
        self.slug, self.folder = slug, folder
        self.card, self.method, self.kind = loaded.card, loaded.method, loaded.config
        self.module = loaded.module

    @property
    def is_ours(self) -> bool:
        """Whether it belongs to the project, and so is held to its published figures."""
        return self.entry.module.startswith("pretrial.")

    @cached_property
    def config(self) -> Any:
        """The settings of a training of a second."""
        require(
            hasattr(self.kind, "tiny"),
            "Config has no tiny(): add a classmethod tiny() that returns a Config of a network that"
            " trains in a second, without dropout (pretrial train --tiny takes it too)",
        )
        return self.kind.tiny()

    @cached_property
    def examples(self) -> Sequence[Any]:
        """What `read` makes of the rows for tests."""
        own = getattr(self.method, "sample_rows", None)
        require(
            own is not None and own.__func__ is not Method.sample_rows.__func__,  # type: ignore[attr-defined]
            f"{self.method.__name__} has no sample_rows(): add a classmethod that returns a dozen"
            " raw rows, as `read` takes them",
        )
        return self.method.read(self.method.sample_rows())

    def build(self, seed: int = 0) -> Method:
        """A new method, not trained."""
        torch.manual_seed(seed)
        return self.method.build(self.config, data=self.examples)

    def run(self, name: str, kind: type[Run] = Run, seed: int = 0) -> Run:
        """A run of twelve steps in a folder of that name."""
        return kind(self.folder / name, self.examples, budget=BUDGET, seed=seed, quiet=True)

    def trained(self, name: str, kind: type[Run] = Run, seed: int = 0) -> Method:
        """A method trained in the run folder `name`."""
        method = self.build(seed)
        train(method, self.run(name, kind, seed))
        return method

    @cached_property
    def whole(self) -> Method:
        """A method that was trained without a stop."""
        return self.trained("whole")

    @cached_property
    def parts(self) -> list[Part]:
        """Every stage, untrained; what a method makes between stages it makes here too."""
        run = self.run("walk")
        return [
            Part(
                stage.name,
                copy.deepcopy(stage.module).train(),
                [stage.data[i] for i in range(min(_EXAMPLES_OF_A_STAGE, len(stage.data)))],
            )
            for stage in self.build().stages(run)
        ]


@contextmanager
def explained(mend: str) -> Iterator[None]:
    """Turns a failed assertion, such as that of `torch.testing`, into a ContractError.

    Args:
        mend: what to do about it.
    """
    try:
        yield
    except AssertionError as error:
        raise ContractError(mend) from error


def generator(seed: int = 0) -> torch.Generator:
    """A generator of that seed."""
    return torch.Generator().manual_seed(seed)


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    """The gradients that are there, by the names of their parameters."""
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
