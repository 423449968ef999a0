"""The contract of a method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import nn

from pretrial.train.stage import Stage, Trainable

if TYPE_CHECKING:
    from pretrial.train.run import Run


class Method(Trainable):
    """A published method. One file under `methods/` holds one subclass, its Config and its Card.

    Attributes:
        config: the frozen dataclass it was built from.
        frozen: teachers and other modules that are used but never trained; the loop keeps them in
            eval mode and without gradients, and checkpoints leave them out.
    """

    Config: ClassVar[type]

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.frozen = nn.ModuleDict()

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Any] | None = None
    ) -> Self:
        """A method ready to train.

        Args:
            config: an instance of the method's Config.
            source: name or folder of a public checkpoint, or a folder written by `save`; None
                starts from scratch.
            data: examples (as `read` returns them), used to learn a vocabulary where there is none.
        """
        raise NotImplementedError(f"{cls.__name__} does not say how it is built")

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Any]:
        """Turns raw rows of data into examples; the default takes rows as they are.

        Raises:
            UserError: a field is missing (it names those found).
        """
        return rows

    def stages(self, run: Run) -> Iterator[Stage]:
        """The stages of the training, in order.

        The default is one stage over `run.data`, evaluated on `run.held_out`.
        """
        yield Stage.of(
            "train", self, run.data, self.config, budget=run.budget, held_out=run.held_out
        )

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """A handful of raw rows, as `read` takes them, on which `Config.tiny()` trains in a second.

        The tests of the contract and `pretrial check` train on them.
        """
        raise NotImplementedError(f"{cls.__name__} does not give sample_rows for its tests")

    def export(self) -> nn.Module:
        """What the user keeps: a `PreTrainedModel` where one fits."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it exports")

    def save(self, folder: Path) -> None:
        """Writes everything `build(config, source=folder)` needs: weights, tokenizer, config."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is saved")
