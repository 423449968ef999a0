"""The base of methods that pre-train an encoder of patches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pretrial.bases.examples import Example, read_examples
from pretrial.bases.finetuning import FinetunedMethod, check_classes, classes_of
from pretrial.bases.patch_encoder.data import image_processor, pixels, sample_images
from pretrial.checkpoints.parts import has_part, load_weights, save_parts
from pretrial.convert.vit import load_vit
from pretrial.corrupt.draws import row_seeds
from pretrial.models.architectures.patch_classifier import PatchClassifier, Pooling
from pretrial.models.architectures.patch_encoder import PatchEncoder, glorot_init
from pretrial.train.budget import Budget
from pretrial.train.in_batches import in_batches
from pretrial.train.stage import Optim, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run


class PatchEncoderMethod(FinetunedMethod):
    """An encoder of patches that is pre-trained, then fine-tuned where the settings ask for it.

    A subclass makes its own parts in `__init__` and gives `batch` and `losses`. It may give other
    weights to begin with (`new_network`), and positions that pre-training adds (`positions`).

    Args:
        config: the settings.
        encoder: is trained in place.
        classes: names of the classes that fine-tuning tells apart.
    """

    finetune_schedule = "cosine"
    trained_classifier: PatchClassifier | None

    def __init__(self, config: Any, encoder: PatchEncoder, classes: Sequence[Any] = ()) -> None:
        super().__init__(config, classes)
        self.encoder = encoder

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `Method.build`. A checkpoint is a ViT of transformers or timm and decides the sizes.

        Raises:
            UserError: fine-tuning is asked for and no two labels are there.
        """
        classes = classes_of(data)
        if data is not None and config.finetune_ratio:
            check_classes(len(classes))
        if source is None:
            return cls(config, cls.new_network(config), classes)
        vit = load_vit(source)
        method = cls(config.sized_as(vit.config), PatchEncoder(vit), classes)
        if has_part(source, "parts"):
            parts = load_weights(source, "parts")
            if parts.keys() == method._parts().keys():  # another method's are left where they are
                method.load_state_dict(parts, strict=False)
        method.load_classifier(source)
        return method

    @classmethod
    def new_network(cls, config: Any) -> PatchEncoder:
        """A randomly initialised encoder."""
        encoder = PatchEncoder.new(config.encoder_config())
        glorot_init(encoder)
        return encoder

    def _parts(self) -> dict[str, Tensor]:
        """All weights but those of the encoder and the classifier."""
        apart = ("encoder.", "trained_classifier.")
        return {n: value for n, value in self.state_dict().items() if not n.startswith(apart)}

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """The images or recordings of the rows, with their labels."""
        return read_examples(rows, ("image", "audio"))

    def pixels(self, contents: Sequence[Any], generator: torch.Generator | None = None) -> Tensor:
        """What the encoder reads [B, C, H, W]; a generator is for crops and mirror images."""
        seeds = None if generator is None else row_seeds(len(contents), generator)
        return pixels(contents, self.config, seeds)

    def stages(self, run: Run) -> Iterator[Stage]:
        """Pre-training, then fine-tuning, as `finetune_ratio` divides the budget."""
        config, budget = self.config, run.budget
        rest = round(budget.amount * config.finetune_ratio, 6)  # a third of 900 steps is 300
        if config.finetune_ratio < 1:
            yield Stage.of(
                "pretrain",
                self,
                run.data,
                config,
                budget=Budget(budget.amount - rest, budget.unit),
                held_out=run.held_out,
                optim=Optim.of(config, schedule="cosine"),
                purpose="pretrain",
            )
        if config.finetune_ratio:
            yield self.finetuning(run, Budget(rest, budget.unit))

    def positions(self) -> Tensor | None:
        """Absolute positions that pre-training adds [1, 1 + n, d], the class token's first."""
        return None

    def states(self, images: Tensor) -> Tensor:
        """The last states of all patches [B, n, d], as pre-trained, of images [B, C, H, W]."""
        tokens, given = self.encoder.tokens(images), self.positions()
        return self.encoder.states(tokens if given is None else tokens + given[:, 1:])

    def encode(
        self, examples: Sequence[Any], *, pretrained: bool = False, batch_size: int = 64
    ) -> Tensor:
        """One vector each [N, d]: the mean of the last states.

        Args:
            examples: as `read` gives them, or bare images or recordings.
            pretrained: of the encoder as it was before fine-tuning.
            batch_size: of a forward pass.
        """
        device = next(self.parameters()).device
        tuned = None if pretrained else self.trained_classifier
        states = self.states if tuned is None else tuned.states
        return in_batches(
            self, examples, lambda some: states(self.pixels(some).to(device)).mean(1), batch_size
        )

    def classifier(self, num_labels: int, pooling: Pooling = "mean") -> PatchClassifier:
        """A classifier on a copy of the encoder, with its positions and a new head."""
        return PatchClassifier(
            self.encoder,
            num_labels,
            self.pixels,
            self.config.positions,
            pooling,
            self.positions(),
        )

    def new_classifier(self) -> PatchClassifier:
        """See `FinetunedMethod`."""
        return self.classifier(len(self.classes), self.config.pooling)

    @property
    def processor(self) -> Any:
        """How transformers prepares images for what `export` gives; None for sound."""
        return image_processor(self.config) if self.config.input == "image" else None

    def export(self) -> PreTrainedModel:
        """A `ViTModel`; fine-tuned, a classifier of transformers.

        That is `ViTForImageClassification` with a class token, `IJepaForImageClassification`
        without one.
        """
        if self.trained_classifier is not None:
            return self.trained_classifier.to_transformers(self.classes)
        return self.encoder.to_vit(self.positions())

    def save(self, folder: Path) -> None:
        """The encoder as a `ViTModel`, with the other parts and the classifier beside it."""
        self.encoder.to_vit(self.positions()).save_pretrained(folder)
        save_parts(folder, {"parts": self._parts() or None})
        self.save_classifier(folder)

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """See `Method.sample_rows`."""
        return sample_images()
