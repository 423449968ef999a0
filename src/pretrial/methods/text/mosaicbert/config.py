"""Settings of MosaicBERT."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from pretrial.bases.config import published_size
from pretrial.bases.text_encoder import EncoderConfig
from pretrial.methods.text.mosaicbert.network.bert import MosaicBertConfig


@dataclass(frozen=True)
class Config(EncoderConfig):
    """Settings of MosaicBERT, by default those of MosaicBERT-base.

    Files are those of examples/benchmarks/bert in mosaicml/examples; yaml is
    yamls/main/mosaic-bert-base-uncased.yaml there.

    Attributes:
        vocab_size: most entries of the vocabulary that is learned when there is no checkpoint; the
            network has the next multiple of 64.
        num_positions: longest text that `encode` and classifiers read; weights depend on it only
            without ALiBi.
        dropout_prob: of hidden states; attention has none.
        mask_ratio: share of the ordinary tokens that is chosen in training.
        eval_mask_ratio: the same in evaluation.
        betas: of Adam.
        final_ratio: learning rate at the end as a share of the peak.
        weight_decay: what a step at the peak rate takes off the weights, as a share; the rate is
            not a factor of it.
        alibi: distances are biases; False learns an embedding for each position.
        gated: gated feed-forward layers; False has BERT's.
        equal_parameters: gated layers have two thirds of `feed_forward`, so that there are as many
            parameters as in BERT.
        unpadded: padding costs no work.
        masked_tail: after attention, the last layer and the head work on the chosen tokens only.
        low_precision_norm: norms stay in bfloat16 where training is in it.
    """

    vocab_size: int = 30522  # bert-base-uncased
    width: int = 768  # mosaic_bert.py
    num_layers: int = 12  # yaml
    num_heads: int = 12  # yaml
    feed_forward: int = 3072  # mosaic_bert.py
    num_positions: int = 512  # mosaic_bert.py
    max_length: int = 128  # yaml
    dropout_prob: float = 0.1  # mosaic_bert.py
    mask_ratio: float = 0.3  # yaml
    eval_mask_ratio: float = 0.15  # yaml
    lr: float = 5e-4  # yaml
    warmup: float = 0.06  # yaml
    betas: tuple[float, float] = (0.9, 0.98)  # yaml
    final_ratio: float = 0.02  # yaml
    weight_decay: float = 1e-5  # yaml
    batch_size: int = 4096  # yaml
    alibi: bool = True  # bert_layers.py; ALiBi's section 3
    gated: bool = True  # bert_layers.py
    equal_parameters: bool = False  # bert_layers.py, which names the choice
    unpadded: bool = True  # bert_layers.py
    masked_tail: bool = True  # bert_layers.py
    low_precision_norm: bool = True  # yaml

    #: Published parameters of what `export` gives, for each name that `paper` knows; that of the
    #: large one is (unverified).
    published: ClassVar[dict[str, float]] = {"base": 137e6, "large": 434e6}

    @classmethod
    def small(cls) -> Self:
        """1.1 M parameters, for a megabyte of text: minutes on two cores."""
        return replace(super().small(), equal_parameters=True)

    @classmethod
    def paper(cls, name: str = "base") -> Self:
        """The published sizes: "base" (137 M parameters), "large" (434 M)."""
        large = cls(width=1024, num_layers=24, num_heads=16, feed_forward=4096)
        return published_size(name, {"base": cls(), "large": large})

    def network_config(self, kind: Any = MosaicBertConfig, **more: Any) -> Any:
        """See `TransformerSizes.network_config`."""
        if self.gated and self.equal_parameters:
            more = {"intermediate_size": round(self.feed_forward * 2 / 3)} | more
        own = {
            "attention_probs_dropout_prob": 0.0,
            "alibi": self.alibi,
            "gated": self.gated,
            "unpadded": self.unpadded,
            "low_precision_norm": self.low_precision_norm,
        }
        return super().network_config(kind, **(own | more))

    def sized_as(self, network: MosaicBertConfig) -> Self:
        """The same settings with the sizes and the architecture of an encoder that was loaded."""
        most = math.inf if network.alibi else network.max_position_embeddings
        return replace(
            super().sized_as(network),
            num_positions=int(min(self.num_positions, most)),
            max_length=int(min(self.max_length, most)),
            alibi=network.alibi,
            gated=network.gated,
            equal_parameters=False,
            low_precision_norm=network.low_precision_norm,
        )
