"""What methods that pre-train an encoder of patches share: data, fine-tuning, abilities, files."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from pretrial.bases.patch_encoder.inputs import Example, pixels, read
from pretrial.checkpoints.keys import load_strict
from pretrial.convert.vit import load_vit
from pretrial.corrupt.draws import row_seeds
from pretrial.data.rows import mapped, where
from pretrial.errors import UserError, missing_package
from pretrial.evaluate.classify import likeliest
from pretrial.models.architectures.patch_classifier import PatchClassifier, Pooling
from pretrial.models.architectures.patch_encoder import PatchEncoder, begin_by_width
from pretrial.train.budget import Budget
from pretrial.train.held_out import held_out_losses
from pretrial.train.method import Method
from pretrial.train.stage import Optim, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

_PARTS, _CLASSIFIER, _CLASSES = "parts.safetensors", "classifier.safetensors", "classes.json"


class PatchMethod(Method):
    """An encoder of patches that is pre-trained, then fine-tuned where the settings ask for it.

    Args:
        config: the settings.
        encoder: is trained in place.
        classes: names of the classes that fine-tuning tells apart.

    Attributes:
        labeller: the classifier, once the stage of fine-tuning has begun; else None.
    """

    def __init__(self, config: Any, encoder: PatchEncoder, classes: Sequence[Any] = ()) -> None:
        super().__init__(config)
        self.encoder = encoder
        self.classes = list(classes)
        self.labeller: PatchClassifier | None = None

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `Method.build`. A checkpoint is a ViT of transformers or timm and decides the sizes.

        Raises:
            UserError: fine-tuning is asked for and no two labels are there.
        """
        labels = {each.label for each in data or () if each.label is not None}
        if data is not None and config.finetune_ratio and len(labels) < 2:
            raise UserError(
                f"the data has {len(labels)} label(s), too few to fine-tune on: name their field"
                " with --fields label=OTHER, or set finetune_ratio to 0"
            )
        classes = sorted(labels, key=str)
        if source is None:
            encoder = PatchEncoder.new(config.network_config())
            begin_by_width(encoder)
            return cls(config, encoder, classes)
        vit = load_vit(source)
        method = cls(config.sized_as(vit.config), PatchEncoder(vit), classes)
        method._adopt(Path(source))
        return method

    def _adopt(self, folder: Path) -> None:
        """Takes over what `save` has written beside the encoder, where it has."""
        if (folder / _PARTS).is_file():
            parts = load_file(folder / _PARTS)
            if parts.keys() == self._parts().keys():
                self.load_state_dict(parts, strict=False)
        if (folder / _CLASSIFIER).is_file():
            self.classes = json.loads((folder / _CLASSES).read_text(encoding="utf-8"))
            self.labeller = self.classifier(len(self.classes), self.config.pooling)
            load_strict(self.labeller, load_file(folder / _CLASSIFIER), folder)

    def _parts(self) -> dict[str, Tensor]:
        """All weights but those of the encoder and the classifier."""
        apart = ("encoder.", "labeller.")
        return {n: value for n, value in self.state_dict().items() if not n.startswith(apart)}

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """The images or recordings of the rows, with their labels."""
        return read(rows)

    def stages(self, run: Run) -> Iterator[Stage]:
        """Pre-training, then fine-tuning, as `finetune_ratio` divides the budget."""
        ratio, limit = self.config.finetune_ratio, run.budget
        tuning = round(limit.amount * ratio, 6)  # a third of 900 steps is 300
        if ratio < 1:
            budget = Budget(limit.amount - tuning, limit.unit)
            yield self._stage("pretrain", self, run.data, run.held_out, budget)
        if not ratio:
            return
        with torch.random.fork_rng():
            torch.manual_seed(run.generator("classifier").initial_seed())
            self.labeller = self.classifier(len(self.classes), self.config.pooling)
        budget = Budget(tuning, limit.unit)
        learn, aside = self.labelled(run.data), self.labelled(run.held_out)
        yield self._stage("finetune", self.labeller, learn, aside, budget)

    def _stage(self, name: str, module: Any, data: Any, held_out: Any, budget: Budget) -> Stage:
        config, pretrains = self.config, module is self
        size = config.batch_size if pretrains else config.finetune_batch_size
        return Stage(
            name,
            module,
            data,
            budget,
            optim=Optim(
                config.lr if pretrains else config.finetune_lr,
                config.weight_decay,
                warmup=config.warmup if pretrains else 0.1,
                schedule="cosine",
            ),
            batch_size=size,
            micro_batch_size=config.micro_batch_size or None,
            evaluate=partial(held_out_losses, module, held_out, size) if held_out else None,
            evaluate_every=config.evaluate_every,
            purpose=name,
        )

    def labelled(self, examples: Sequence[Example]) -> Sequence[tuple[Example, int]]:
        """The examples with a known label, and its class."""
        place = {label: number for number, label in enumerate(self.classes)}
        known = where(examples, lambda each: each.label in place)
        return mapped(known, lambda _, each: (each, place[each.label]))

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

    @property
    def processor(self) -> Any:
        """How transformers prepares images for what `export` gives; None for sound.

        Raises:
            UserError: Pillow, which it needs, is not installed.
        """
        config = self.config
        if config.input == "audio":
            return None
        if importlib.util.find_spec("PIL") is None:
            raise missing_package("pillow", "vision")
        from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

        height, width = config.shape
        return ViTImageProcessorPil(
            do_resize=config.resize,
            size={"height": height, "width": width},
            image_mean=[0.5] * config.num_channels,
            image_std=[0.5] * config.num_channels,
        )

    def positions(self) -> Tensor | None:
        """Absolute positions that pre-training gives [1, 1 + n, d], the class token's first."""
        return None

    def pixels(self, contents: Sequence[Any], generator: torch.Generator | None = None) -> Tensor:
        """What the encoder reads [B, C, H, W]; a generator is for crops and mirror images."""
        seeds = None if generator is None else row_seeds(len(contents), generator)
        return pixels(contents, self.config, seeds)

    def states(self, images: Tensor) -> Tensor:
        """The last states of all patches [B, n, d], as pre-trained, of images [B, C, H, W]."""
        tokens, given = self.encoder.tokens(images), self.positions()
        return self.encoder.states(tokens if given is None else tokens + given[:, 1:])

    @torch.no_grad()
    def encode(
        self, examples: Sequence[Any], *, pretrained: bool = False, batch_size: int = 64
    ) -> Tensor:
        """One vector each [N, d]: the mean of the last states.

        Args:
            examples: as `read` gives them, or bare images or recordings.
            pretrained: of the encoder as it was before fine-tuning.
            batch_size: of a forward pass.
        """
        device, mode = next(self.parameters()).device, self.training
        states = self.states
        if self.labeller is not None and not pretrained:
            states = self.labeller.states
        self.eval()
        vectors = [
            states(self.pixels(examples[start : start + batch_size]).to(device)).mean(1)
            for start in range(0, len(examples), batch_size)
        ]
        self.train(mode)
        return torch.cat(vectors)

    def classify(self, examples: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """The likeliest label of each example and its probability.

        Raises:
            UserError: the run was not fine-tuned.
        """
        return likeliest(self.labeller, self.classes, examples)

    def export(self) -> PreTrainedModel:
        """A `ViTModel`; fine-tuned, a classifier of transformers.

        That is `ViTForImageClassification` with a class token, `IJepaForImageClassification`
        without one.
        """
        if self.labeller is not None:
            return self.labeller.to_transformers(self.classes)
        return self.encoder.to_vit(self.positions())

    def save(self, folder: Path) -> None:
        """The encoder as a `ViTModel`, with the other parts and the classifier beside it."""
        self.encoder.to_vit(self.positions()).save_pretrained(folder)
        save_file({n: each.contiguous() for n, each in self._parts().items()}, folder / _PARTS)
        if self.labeller is not None:
            save_file(self.labeller.state_dict(), folder / _CLASSIFIER)
            (folder / _CLASSES).write_text(json.dumps(self.classes), encoding="utf-8")

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """A handful of rows for tests: a bright square in one of two corners."""
        rows = []
        for number in range(16):
            image = np.random.default_rng(number).integers(0, 90, (8, 8), dtype=np.uint8)
            corner = number % 2 * 4
            image[corner : corner + 4, corner : corner + 4] += 150
            rows.append({"image": image, "label": ("first", "last")[number % 2]})
        return rows
