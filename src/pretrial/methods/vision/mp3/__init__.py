"""MP3: a Transformer learns which place of an image each of its patches comes from.

An image is cut into patches, or a recording into groups of spectrogram frames, and the encoder
reads them without any position embedding: a bag of patches. From each state a linear head names
the place of its patch, a classification among all places. To make that hard, most patches are
hidden from attention: all of them ask, but keys and values come from a random few, the context,
which is the same in all layers. So what is learnt is how contents stand to one another in space or
time. Nothing is reconstructed and there is no decoder. Afterwards the head is dropped; fine-tuning
lets every patch be seen and adds fresh positions, or none.

Deviations from the paper:
1. Where the text of the paper was not at hand, settings are assumed and said to be so in `Config`:
   the recipe of ViT-B, the front end for sound, and the form of the smoothed targets.
2. No augmentation beyond crops and mirror images; neither pads, since a border tells a place.
3. A recording shorter than the crop is refused, for the same reason.
4. Relative positions are a bias for each head and offset, shared by all layers.

| field | content |
| --- | --- |
| image | path, array or picture; see `data.images` |
| audio | instead of an image, with `input=audio`: path or samples; see `data.audio` |
| label | class of it, for fine-tuning; rows may lack it |
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from pretrial.card import Card, Claim, Field
from pretrial.convert.keys import load_strict
from pretrial.convert.vit import load_vit
from pretrial.corrupt.draws import choose, row_seeds
from pretrial.errors import UserError
from pretrial.evaluate.held_out import held_out_losses
from pretrial.methods.vision.mp3.config import Config
from pretrial.methods.vision.mp3.inputs import Example, pixels, read
from pretrial.models.patch_classifier import PatchClassifier, Pooling
from pretrial.models.patch_encoder import PatchEncoder
from pretrial.objectives.positions import near_targets, position_loss
from pretrial.train.budget import Budget
from pretrial.train.method import Batch, Method
from pretrial.train.stage import Optim, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

CARD = Card(
    slug="mp3",
    title="Position Prediction as an Effective Pretraining Strategy",
    authors="Zhai and others",
    year=2022,
    arxiv="2207.07611",
    summary="A Transformer without positions learns where in an image or a sound a piece stood",
    baseline="scratch",
    abilities=("encode", "classify"),
    fields=(
        Field("image", "path, array or picture"),
        Field("audio", "instead of an image: path, or samples with their rate", required=False),
        Field("label", "class, for fine-tuning", required=False),
    ),
    claims=(
        Claim(
            "CIFAR-100, ViT-S: 84.0 with absolute positions, 84.2 relative, 82.6 with none, against"
            " 73.4, 75.0 and 64.6 from scratch; MAE 84.5, MoCo v3 83.3",
            "(secondary) section on images",
        ),
        Claim(
            "Tiny ImageNet, ViT-S: 72.8, 73.2 and 68.2 against 57.6, 59.4 and 60.0 from scratch",
            "(secondary) section on images",
        ),
        Claim(
            "Transformers without position embeddings come out above those with them", "abstract"
        ),
    ),
)

_HEAD, _LABELLER, _CLASSES = "mp3_head.safetensors", "mp3_classifier.safetensors", "mp3.json"


class MP3(Method):
    """An encoder without positions and the head that names places.

    Args:
        config: the settings.
        encoder: takes its weights over.
        classes: names of the classes that fine-tuning tells apart.

    Attributes:
        labeller: the classifier, once the stage of fine-tuning has begun; else None.
        steps_done: optimiser steps of pre-training, which the smoothing of targets depends on.
    """

    Config: ClassVar[type] = Config
    steps_done: Tensor

    def __init__(self, config: Config, encoder: PatchEncoder, classes: Sequence[Any] = ()) -> None:
        super().__init__(config)
        self.encoder = encoder
        self.classes = list(classes)
        self.position_head = nn.Linear(config.width, config.num_tokens)
        self.labeller: PatchClassifier | None = None
        self.register_buffer("steps_done", torch.zeros(()))

    @classmethod
    def build(
        cls,
        config: Config,
        source: str | Path | None = None,
        data: Sequence[Example] | None = None,
    ) -> Self:
        """See `Method.build`. A checkpoint is a ViT of transformers or timm and decides the sizes.

        Raises:
            UserError: fine-tuning is asked for and no example has a label.
        """
        labels = {each.label for each in data or () if each.label is not None}
        classes = sorted(labels, key=str)
        if data is not None and config.finetune_ratio and len(classes) < 2:
            raise UserError(
                f"the data has {len(classes)} label(s), too few to fine-tune on: name their field"
                " with --fields label=OTHER, or set finetune_ratio to 0"
            )
        if source is None:
            return cls(config, PatchEncoder(config.network_config()), classes)
        vit = load_vit(source)
        method = cls(config.sized_as(vit.config), PatchEncoder.of(vit), classes)
        method._adopt(Path(source))
        return method

    def _adopt(self, folder: Path) -> None:
        """Takes over what `save` has written beside the encoder, where it has."""
        if (folder / _HEAD).is_file():
            kept = load_file(folder / _HEAD)
            self.steps_done.copy_(kept.pop("steps_done"))
            load_strict(self.position_head, kept, folder)
        if (folder / _LABELLER).is_file():
            self.classes = json.loads((folder / _CLASSES).read_text(encoding="utf-8"))
            self.labeller = self.classifier(len(self.classes), self.config.pooling)
            load_strict(self.labeller, load_file(folder / _LABELLER), folder)

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> list[Example]:
        """The images or recordings of the rows, with their labels."""
        return read(rows)

    def batch(self, examples: Sequence[Example], generator: torch.Generator) -> Batch:
        """Pixels [B, C, H, W], and `context` [L, B, m], places of the tokens that are seen.

        L is 1, or the number of layers where each has a context of its own.
        """
        config, num = self.config, len(examples)
        seeds = row_seeds(num, generator)
        sizes, kept = np.full(num, config.num_tokens), np.full(num, config.num_context)
        draws = config.num_layers if config.context == "layer" else 1
        chosen = [choose(seeds, sizes, kept, stream) for stream in range(100, 100 + draws)]
        places = [each.nonzero()[1].reshape(num, config.num_context) for each in chosen]
        return {
            "pixels": pixels(examples, config, seeds if self.training else None),
            "context": torch.from_numpy(np.stack(places)),
            "counts": {
                "examples": float(num),
                "tokens": float(num * config.num_tokens),
                "context": float(num * config.num_context),
                "hidden": float(num * (config.num_tokens - config.num_context)),
            },
        }

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy over all tokens, and how many places are named rightly."""
        context, counts = batch["context"], batch["counts"]
        logits = self.position_logits(
            batch["pixels"], list(context) if len(context) > 1 else context[0]
        )
        found = {"loss": position_loss(logits, counts["tokens"], self._targets(logits))}
        right = logits.argmax(-1) == torch.arange(logits.shape[1], device=logits.device)  # [B, n]
        seen = right.gather(1, context[0])
        found["context_right_ratio"] = seen.sum() / counts["context"]
        if counts["hidden"]:
            found["hidden_right_ratio"] = (right.sum() - seen.sum()) / counts["hidden"]
        return found

    def position_logits(
        self, images: Tensor, context: Tensor | Sequence[Tensor] | None = None
    ) -> Tensor:
        """Logits of the places [B, n, n] for every token of images [B, C, H, W]."""
        tokens = self.encoder.tokens(images)
        return self.position_head(self.encoder.states(tokens, context))

    def _targets(self, logits: Tensor) -> Tensor | None:
        """Smoothed targets [n, n] while they are; they narrow linearly with the steps."""
        config = self.config
        if not config.smoothing or not self.training:
            return None
        left = (1 - self.steps_done / config.smoothing_steps).clamp(min=0)
        return near_targets(self.encoder.grid, (config.smoothing * left).clamp(min=1e-3))

    def after_step(self) -> None:
        self.steps_done += 1

    def stages(self, run: Run) -> Iterator[Stage]:
        """Pre-training, then fine-tuning, as `finetune_ratio` divides the budget."""
        config, limit = self.config, run.budget
        run.say(
            f"{config.num_context} of {config.num_tokens} tokens are context,"
            f" {config.num_tokens - config.num_context} are hidden"
        )
        if config.finetune_ratio < 1:
            budget = Budget(limit.amount * (1 - config.finetune_ratio), limit.unit)
            yield self._stage("pretrain", self, run.data, run.held_out, budget)
        if not config.finetune_ratio:
            return
        with torch.random.fork_rng():
            torch.manual_seed(run.generator("classifier").initial_seed())
            self.labeller = self.classifier(len(self.classes), config.pooling)
        budget = Budget(limit.amount * config.finetune_ratio, limit.unit)
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

    def labelled(self, examples: Sequence[Example]) -> list[tuple[Example, int]]:
        """The examples with a known label, and its class."""
        place = {label: number for number, label in enumerate(self.classes)}
        return [(each, place[each.label]) for each in examples if each.label in place]

    def classifier(self, num_labels: int, pooling: Pooling = "mean") -> PatchClassifier:
        """A classifier on a copy of the encoder, with new positions and a new head."""
        return PatchClassifier(
            self.encoder, num_labels, self._pixels, self.config.positions, pooling
        )

    def _pixels(self, contents: Sequence[Any], generator: torch.Generator | None = None) -> Tensor:
        seeds = None if generator is None else row_seeds(len(contents), generator)
        return pixels(contents, self.config, seeds)

    def encode(self, examples: Sequence[Any], batch_size: int = 64) -> Tensor:
        """One vector each [N, d]: the mean of the last states, all tokens seen.

        Args:
            examples: as `read` gives them, or bare images or recordings.
            batch_size: of a forward pass.
        """
        device, parts = self.position_head.weight.device, []
        mode = self.training
        self.eval()
        with torch.no_grad():
            for start in range(0, len(examples), batch_size):
                images = self._pixels(examples[start : start + batch_size]).to(device)
                if self.labeller is None:
                    states = self.encoder.states(self.encoder.tokens(images))
                else:
                    states = self.labeller.states(images)
                parts.append(states.mean(1))
        self.train(mode)
        return torch.cat(parts)

    def classify(self, examples: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """The likeliest label of each example and its probability.

        Raises:
            UserError: the run was not fine-tuned.
        """
        if self.labeller is None:
            raise UserError(
                "this run has no classifier: train with a finetune_ratio above 0 on labelled data"
            )
        for example in examples:
            chances = self.labeller.logits([example]).softmax(-1)[0]
            best = int(chances.argmax())
            yield {"label": self.classes[best], "label_prob": round(float(chances[best]), 6)}

    def export(self) -> PreTrainedModel:
        """A `ViTModel` with fresh positions; fine-tuned, a classifier of transformers.

        With a class token that is `ViTForImageClassification`, without one
        `IJepaForImageClassification`.
        """
        if self.labeller is not None:
            return self.labeller.to_transformers(self.classes)
        return self.encoder.to_vit()

    def save(self, folder: Path) -> None:
        """The encoder as a `ViTModel`, with the head and the classifier beside it."""
        self.encoder.to_vit().save_pretrained(folder)
        head = {**self.position_head.state_dict(), "steps_done": self.steps_done}
        save_file(head, folder / _HEAD)
        if self.labeller is not None:
            save_file(self.labeller.state_dict(), folder / _LABELLER)
            (folder / _CLASSES).write_text(json.dumps(self.classes), encoding="utf-8")


def examples() -> list[dict[str, Any]]:
    """A handful of rows for tests: bright squares in two corners."""
    rows = []
    for number in range(16):
        image = np.random.default_rng(number).integers(0, 90, (8, 8), dtype=np.uint8)
        corner = number % 2 * 4
        image[corner : corner + 4, corner : corner + 4] += 150
        rows.append({"image": image, "label": ("first", "last")[number % 2]})
    return rows
