"""The contract of a method.

A method may have abilities, which `CARD.abilities` names: its methods that take examples, as `read`
makes them, and give a row with fixed keys for each, one after the other. `pretrial predict` prints
those rows, whatever the modality.

| ability | keys of a row |
| --- | --- |
| encode | none: one tensor of vectors [N, d] for all examples; printed as `encode` |
| classify | `label`, `label_prob` |
| answer, of a fine-tuned model | `id`; `label`, `probability`; or as its task has it |
| generate, and others that write a text | `text`; with several samples all of them, as `texts` |
| rank | `choice`, `scores` by choice |
| search | `text`, the query; `results`, each with `score`, `place` and what stands there |
| repair | `failing_before`, `plausible`, `validations`, `patches` |
| reconstruct, forecast | none: one tensor [N, ...] for all examples |

Tasks ask for further abilities, which give no rows, by name: `classifier(num_labels, pooling)`, a
Trainable of (example, class) pairs with `logits(examples)`; `nll(examples)`; and those that
`evaluate.tasks` lists. What is particular to a method, such as `diagnose`, has keys of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

from torch import nn

from pretrial.train.stage import Stage, Trainable

if TYPE_CHECKING:
    from pretrial.train.run import Run


class SentenceVectors(NamedTuple):
    """How the last states of a model become the vector of a text.

    Attributes:
        pooling: the state of the first token, or the mean of all.
        max_length: tokens of a text that are read, with the special ones.
        normalised: vectors have length 1.
    """

    pooling: Literal["first", "mean"]
    max_length: int
    normalised: bool = False


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

    def export_beside(self, folder: Path) -> str:
        """Writes into an export what its layout has no place for, such as a further head.

        Args:
            folder: of the export.

        Returns:
            Markdown for the model card: how the model is used where loading it does not suffice.
        """
        return ""

    def sentence_vectors(self) -> SentenceVectors | None:
        """How `encode` makes vectors of texts of the exported model's states; None where it does
        not, or needs more than these.
        """
        return None

    def save(self, folder: Path) -> None:
        """Writes everything `build(config, source=folder)` needs: weights, tokenizer, config."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is saved")


class OneStage(Method):
    """A stage on its own, where the loop is all that is wanted of a method.

    Args:
        make: gives the stage of a run.
    """

    def __init__(self, make: Callable[[Run], Stage]) -> None:
        super().__init__(None)
        self.make = make

    def stages(self, run: Run) -> Iterator[Stage]:
        """The one stage."""
        yield self.make(run)
