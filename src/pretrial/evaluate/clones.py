"""Fine-tuning to find clones: functions that do the same are to have vectors that are alike.

It is how encoders of code are compared on POJ-104: any method on a RoBERTa can be asked for it.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.roberta.modeling_roberta import RobertaPooler

from pretrial.errors import UserError
from pretrial.models.architectures.text_encoder import encode
from pretrial.train.stage import Batch, Trainable


def clone_loss(
    anchors: Tensor, positives: Tensor, negatives: Tensor, labels: Tensor, count: float
) -> Tensor:
    """Each anchor is told by its positive from its negative, and from what others have.

    The candidates are, by their products with the anchor: its positive, its negative, and all
    anchors and positives of the batch that have another label. The released code takes the
    logarithm of a softmax plus 1e-10; here it is the logarithm itself, which does not saturate.

    Args:
        anchors: [B, d].
        positives: of the label of their anchor [B, d].
        negatives: of another label [B, d].
        labels: of the anchors [B].
        count: what the sum is divided by.
    """
    pairs = [(anchors * other).sum(-1, keepdim=True) for other in (positives, negatives)]
    others = anchors @ torch.cat([anchors, positives]).T  # [B, 2B]
    same = labels[:, None] == labels.repeat(2)[None, :]
    scores = torch.cat([*pairs, others.masked_fill(same, -1e9)], dim=1)  # [B, 2 + 2B]
    right = torch.zeros(len(anchors), dtype=torch.int64, device=scores.device)
    return F.cross_entropy(scores.float(), right, reduction="sum") / count


class CloneFinder(Trainable):
    """A copy of an encoder that learns which functions solve the same problem.

    Examples are (code, label) pairs; `learn_from` tells it all that positives and negatives are
    drawn from. The vector of a function is what the pooler makes of the first token's state, as in
    the release, whose encoder loads without a masked language model's head.

    Args:
        network: `RobertaModel`; copied. A pooler that it lacks is randomly initialised.
        tokenizer: its tokenizer.
        max_length: longer code is cut; the release has 400.
    """

    compares_examples = True

    def __init__(self, network: Any, tokenizer: Any, max_length: int = 400) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        if self.network.pooler is None:
            self.network.pooler = RobertaPooler(network.config).to(network.device)
            self.network.pooler.apply(network._init_weights)
        self.network.pooler.requires_grad_(True)
        self.tokenizer = tokenizer
        self.max_length = max_length
        self._by_label: dict[int, list[str]] = defaultdict(list)

    def learn_from(self, examples: Sequence[tuple[str, int]]) -> None:
        """Takes positives and negatives from these from now on.

        Raises:
            UserError: there is but one label, or a label with one code only.
        """
        self._by_label.clear()
        for code, label in examples:
            self._by_label[label].append(code)
        if len(self._by_label) < 2 or min(map(len, self._by_label.values())) < 2:
            raise UserError("clones need two labels or more, and two codes or more of each")

    def batch(self, examples: Sequence[tuple[str, int]], generator: torch.Generator) -> Batch:
        """Codes, a positive and a negative for each."""
        labels = sorted(self._by_label)
        anchors, positives, negatives = [], [], []
        for code, label in examples:
            draws = torch.randint(2**31, (3,), generator=generator).tolist()
            same = [other for other in self._by_label[label] if other != code] or [code]
            others = [name for name in labels if name != label]
            rest = self._by_label[others[draws[1] % len(others)]]
            anchors.append(code)
            positives.append(same[draws[0] % len(same)])
            negatives.append(rest[draws[2] % len(rest)])
        inputs = self.tokenizer(
            [*anchors, *positives, *negatives],
            truncation=True,
            max_length=self.max_length,
            padding=True,
            return_tensors="pt",
            split_special_tokens=True,
        )
        return {
            "input_ids": inputs["input_ids"],
            "attention_mask": inputs["attention_mask"],
            "labels": torch.tensor([label for _, label in examples]),
            "counts": {
                "examples": float(len(examples)),
                "tokens": float(inputs["attention_mask"].sum()),
            },
        }

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """See `clone_loss`; vectors are those of the pooler."""
        pooled = self.network(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).pooler_output  # [3 B, d]
        anchors, positives, negatives = pooled.chunk(3)
        count = batch["counts"]["examples"]
        return {"loss": clone_loss(anchors, positives, negatives, batch["labels"], count)}

    def encode(self, texts: Sequence[str]) -> Tensor:
        """One vector a text [N, d]: that of the pooler."""
        first = encode(self.network, self.tokenizer, texts, self.max_length, pooling="first")
        with torch.no_grad():
            pooled = self.network.pooler(first[:, None].to(self.network.pooler.dense.weight))
        return pooled.float().cpu()
