"""A network of transformers with a head, as something the loop can train on labelled contents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import (
    AutoModelForAudioClassification,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from pretrial.bases.plain.kinds import Modality
from pretrial.bases.plain.readers import Reader
from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.models.architectures.text_encoder import mean_of
from pretrial.train.device import to_device
from pretrial.train.in_batches import each_by_length
from pretrial.train.stage import Batch, Trainable

Task = Literal["classify", "tag", "regress", "rank"]

_HEADS: dict[Modality, Any] = {
    "text": AutoModelForSequenceClassification,
    "image": AutoModelForImageClassification,
    "audio": AutoModelForAudioClassification,
}


#: Ends of the names of weights that only pre-training uses, which masks its inputs.
_PRETRAINING_ONLY = ("masked_spec_embed", "mask_token")

#: Settings by which layers are left out of some steps, in which they get no gradient.
_LAYER_DROPS = ("layerdrop", "encoder_layerdrop", "decoder_layerdrop")


def head_class(task: Task, modality: Modality) -> Any:
    """The Auto class of transformers that has the head of a task.

    Raises:
        UserError: there is none.
    """
    if task in ("tag", "rank") and modality != "text":
        raise UserError(f"--task {task} is for texts, and this model reads {modality}s")
    return AutoModelForTokenClassification if task == "tag" else _HEADS[modality]


def with_head(
    network: Any, task: Task, modality: Modality, classes: Sequence[str], pad_id: int | None = None
) -> Any:
    """A network of transformers with a randomly initialised head on a copy of an encoder.

    Args:
        network: the encoder, or a model whose `base_model` it is.
        task: what the head is for.
        modality: what the network reads.
        classes: their names; none for one number.
        pad_id: of the padding token, for a decoder whose config lacks it.

    Raises:
        UserError: transformers has no such head for the network, or it has no encoder.
    """
    kind, config = head_class(task, modality), type(network.config)
    if config not in kind._model_mapping:
        raise UserError(
            f"transformers has no {kind.__name__} for a {network.config.model_type}: start from"
            " another checkpoint or run"
        )
    names = dict(enumerate(classes)) or {0: "value"}
    own = network.config.__class__.from_dict(
        network.config.to_dict()
        | {"id2label": names, "label2id": {name: i for i, name in names.items()}}
        | {"architectures": [kind._model_mapping[config].__name__]}
        | {"problem_type": "single_label_classification" if classes else "regression"}
        | ({"apply_spec_augment": False} if modality == "audio" else {})
        | {name: 0.0 for name in _LAYER_DROPS if hasattr(network.config, name)}
        | ({} if pad_id is None else {"pad_token_id": pad_id})
    )
    model: Any = kind.from_config(own)
    given, weights = network.base_model.state_dict(), model.base_model.state_dict()
    lacking = [name for name in weights.keys() - given.keys() if not name.startswith("pooler.")]
    if lacking:
        raise UserError(
            f"a {type(network).__name__} has no encoder for {type(model).__name__} (it lacks"
            f" {min(lacking)}): start from another checkpoint or run"
        )
    model.base_model.load_state_dict(weights | {n: given[n] for n in weights.keys() & given.keys()})
    for name, parameter in model.named_parameters():
        if name.endswith(_PRETRAINING_ONLY):
            parameter.requires_grad_(False)
    return model.float()


class Tuned(Trainable):
    """A network with a head; examples are (content, target) pairs.

    A target is the number of a class, a float, or for tags the number of a class a word.

    Args:
        network: of transformers.
        reader: prepares its inputs.
        task: what the head is for.

    Attributes:
        shift: of the targets of a regression, whose deviation is `scale`.
    """

    def __init__(self, network: Any, reader: Reader, task: Task) -> None:
        super().__init__()
        self.network = network
        self.reader = reader
        self.task = task
        self.shift, self.scale = 0.0, 1.0

    def batch(self, examples: Sequence[tuple[Any, Any]], generator: torch.Generator) -> Batch:
        """What the network takes, `labels` [B] or, of tags, [B, T], and the counts."""
        contents, targets = zip(*examples, strict=True)
        inputs = self.reader.inputs(contents)
        counts = {"examples": float(len(targets))}
        if "attention_mask" in inputs and self.reader.modality == "text":
            counts["tokens"] = float(inputs["attention_mask"].sum())
        if self.task != "tag":
            kind = torch.long if self.task == "classify" else torch.float32
            return {**inputs, "labels": torch.tensor(targets, dtype=kind), "counts": counts}
        starts = inputs["word_starts"]
        labels = torch.full_like(starts, IGNORE)
        for row, (own, tags) in enumerate(zip(starts, targets, strict=True)):
            labels[row, own > 0] = torch.tensor(tags)[own[own > 0] - 1]
        counts["words"] = float((starts > 0).sum())
        return {**inputs, "labels": labels, "counts": counts}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy; of a regression the squared error in units of the deviation."""
        labels, counts = batch["labels"], batch["counts"]
        logits = self(batch)
        if self.task == "tag":
            chosen = labels != IGNORE
            sums = cross_entropy(logits[chosen], labels[chosen], reduction="sum")
            return {"loss": sums / counts["words"]}
        if self.task == "classify":
            right = (logits.argmax(-1) == labels).sum()
            sums = cross_entropy(logits, labels, reduction="sum")
            return {"loss": sums / counts["examples"], "right_ratio": right / counts["examples"]}
        if self.task == "rank":
            sums = binary_cross_entropy_with_logits(logits[:, 0], labels, reduction="sum")
        else:
            wanted = (labels - self.shift) / self.scale
            sums = ((logits[:, 0] - wanted) ** 2).sum()
        return {"loss": sums / counts["examples"]}

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, C], or of tags [B, T, C]."""
        apart = ("labels", "counts", "word_starts")
        inputs = {name: value for name, value in batch.items() if name not in apart}
        return self.network(**inputs).logits.float()

    def outputs(self, contents: Sequence[Any], batch_size: int = 64) -> list[Tensor]:
        """For each content, in eval mode and on the CPU, what the head says.

        That is the logarithms of the probabilities of the classes [C], of tags those of each word
        that is read [W, C], and else one number [1]: a value, or the logit of being relevant.
        """

        def compute(some: list[Any]) -> Sequence[Tensor]:
            inputs = self.reader.inputs(some)
            logits = self(to_device(inputs, next(self.parameters()).device)).cpu()
            if self.task == "classify":
                return list(logits.log_softmax(-1))
            if self.task == "tag":
                rows = zip(logits.log_softmax(-1), inputs["word_starts"], strict=True)
                return [own[starts > 0] for own, starts in rows]
            return list(logits if self.task == "rank" else logits * self.scale + self.shift)

        return each_by_length(self, contents, compute, self.reader.length, batch_size)

    def vectors(self, contents: Sequence[Any], batch_size: int = 64) -> Tensor:
        """The mean of the last states beneath the head for each content [N, d], on the CPU."""
        base = self.network.base_model

        def compute(some: list[Any]) -> Sequence[Tensor]:
            inputs = to_device(self.reader.inputs(some), next(self.parameters()).device)
            inputs.pop("word_starts", None)
            states = base(**inputs).last_hidden_state
            if states.ndim == 4:  # of a convolutional network [B, d, H, W]
                return list(states.mean((2, 3)).float().cpu())
            if self.reader.modality != "text":
                return list(states.mean(1).float().cpu())
            return list(mean_of(states, inputs["attention_mask"]).float().cpu())

        return torch.stack(each_by_length(self, contents, compute, self.reader.length, batch_size))

    def standardise(self, targets: Sequence[float]) -> None:
        """Takes the mean and the deviation of the targets of a regression."""
        values = torch.tensor(targets, dtype=torch.float64)
        self.scale = float(values.std()) or 1.0
        # a head without a bias could not give the mean back
        self.shift = float(values.mean()) if self._last().bias is not None else 0.0

    @torch.no_grad()
    def fold(self) -> None:
        """Puts mean and deviation into the head, so that the network itself gives values."""
        last = self._last()
        last.weight *= self.scale
        if last.bias is not None:
            last.bias.mul_(self.scale).add_(self.shift)
        self.shift, self.scale = 0.0, 1.0

    def _last(self) -> nn.Linear:
        """The layer that gives the value."""
        base = set(self.network.base_model.modules())
        layers = [m for m in self.network.modules() if isinstance(m, nn.Linear) and m not in base]
        return layers[-1]
