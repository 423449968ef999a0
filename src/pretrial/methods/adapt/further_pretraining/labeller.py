"""Fine-tuning: a classifier of transformers on images or texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pretrial.corrupt.draws import row_seeds
from pretrial.methods.adapt.further_pretraining.inputs import as_example, pixels_of
from pretrial.train.stage import Batch, Trainable

if TYPE_CHECKING:
    from pretrial.methods.adapt.further_pretraining.network import Network


class Labeller(Trainable):
    """A classifier that starts from a network's encoder; examples are (example, class) pairs.

    Args:
        network: makes the inputs; it is not trained, and its weights are copied.
        num_labels: classes.
    """

    def __init__(self, network: Network, num_labels: int) -> None:
        super().__init__()
        self.model = network.classifier(num_labels)
        # held without being a part, so that its weights are not trained or saved twice
        self._network = (network,)

    @property
    def network(self) -> Network:
        """What makes the inputs."""
        return self._network[0]

    def batch(self, examples: Sequence[tuple[Any, int]], generator: torch.Generator) -> Batch:
        contents, classes = zip(*examples, strict=True)
        found = [as_example(each, self.network.input) for each in contents]
        if self.network.input == "image" and self.training:
            seeds = row_seeds(len(found), generator)
            inputs: Batch = {"pixels": pixels_of(found, self.network.config, seeds)}
        else:
            inputs = self.network.inputs(found)
        counts = {"examples": float(len(found)), "tokens": float(self._num_tokens(inputs))}
        return {**inputs, "classes": torch.tensor(classes), "counts": counts}

    def _num_tokens(self, inputs: Batch) -> int:
        if "attention_mask" in inputs:
            return int(inputs["attention_mask"].sum())
        config = self.network.config
        return len(inputs["pixels"]) * (config.image_size // config.patch_size) ** 2

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy, and the share that is classified rightly."""
        logits, classes, count = self.scores(batch), batch["classes"], batch["counts"]["examples"]
        loss = cross_entropy(logits.float(), classes, reduction="sum") / count
        return {"loss": loss, "accuracy": (logits.argmax(-1) == classes).sum() / count}

    def scores(self, batch: Batch) -> Tensor:
        """Logits [B, num_labels] of a batch."""
        if "attention_mask" in batch:
            mask = batch["attention_mask"].long()
            return self.model(input_ids=batch["input_ids"], attention_mask=mask).logits
        return self.model(pixel_values=batch["pixels"]).logits

    @torch.no_grad()
    def logits(self, contents: Sequence[Any], batch_size: int = 64) -> Tensor:
        """[N, num_labels], in eval mode and on the CPU; the mode comes back."""
        training, device = self.training, self.model.device
        self.eval()
        parts = []
        for start in range(0, len(contents), batch_size):
            some = contents[start : start + batch_size]
            found = [as_example(each, self.network.input) for each in some]
            inputs = {name: v.to(device) for name, v in self.network.inputs(found).items()}
            parts.append(self.scores(inputs).float().cpu())
        self.train(training)
        return torch.cat(parts)
