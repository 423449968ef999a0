"""MosaicBERT: a BERT whose parts were chosen so that pre-training from scratch is cheap.

Positions are linear biases on attention scores (ALiBi), which are not learned and reach beyond the
length of training. Feed-forward layers are gated. Padding is taken out of the batch before the
first layer, so that padding costs no work, and in the last layer only the tokens that will be
predicted go on beyond attention. Under bfloat16, norms stay in it. 30 % of the tokens are hidden,
which gives more to learn from each text; what is measured is always at 15 %, so that figures can be
compared.

Deviations from the paper:
1. Every part is a switch, so that one can be left out at a time; without any, this is BERT.
2. Exactly round(0.3 n) of the n ordinary tokens of a window are hidden, anew each time.
3. Labels that are not wanted are -100, so token 0 can be one; the release takes label 0 for none.
4. The last layer goes on with the hidden tokens alone; the release adds the first one, which
   nothing reads there.
5. Decay leaves out biases and norms; 1e-5 a step at the peak rate, as in the release.
6. FlashAttention is a matter of the machine: attention is torch's own, text lengths are its groups.

| field | content |
| --- | --- |
| text | raw text of any length |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from pretrial.bases.text_encoder import TextEncoder
from pretrial.card import Card, Claim, Field
from pretrial.checkpoints.keys import load_pretrained, load_tokenizer
from pretrial.errors import UserError
from pretrial.methods.text.mosaicbert.config import Config
from pretrial.methods.text.mosaicbert.network.bert import MosaicBertForMaskedLM
from pretrial.models.layers.packing import not_packing, packing
from pretrial.train.stage import Batch, Optim

__all__ = ["CARD", "Config", "MosaicBERT"]

CARD = Card(
    slug="mosaicbert",
    title="MosaicBERT: A Bidirectional Encoder Optimized for Fast Pretraining",
    authors="Portes and others",
    year=2023,
    arxiv="2312.17482",
    summary="A BERT for cheap pre-training: no padding, linear position biases, gated layers",
    baseline="mlm",
    abilities=("encode", "classify"),
    fields=(Field("text", "raw text of any length"),),
    claims=(
        Claim(
            "GLUE dev 79.6 after 1.13 hours on 8 A100-80GB, at a cost of about $20 (base)",
            "abstract",
        ),
        Claim(
            "GLUE dev 83.2 after 4.6 hours, which BERT reaches after 11.5 hours (base)",
            "(secondary) Table 1",
        ),
    ),
)

_TILE = 64
_PUBLIC_VOCABULARY = 30528  # of the public checkpoints
_ALIKE = 64  # tokens within which batches count as the same work


class MosaicBERT(TextEncoder):
    """An encoder with a head that names tokens."""

    Config: ClassVar[type] = Config

    @classmethod
    def network_class(cls, config: Any) -> Any:
        """The names of its weights are those of the public checkpoints."""
        return MosaicBertForMaskedLM

    @classmethod
    def new_network(cls, config: Any, vocab_size: int) -> Any:
        """An untrained network; a vocabulary of 64 entries, or a multiple, is fast to work with."""
        return super().new_network(config, -(-vocab_size // _TILE) * _TILE)

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """See `TextEncoder.load`; the public checkpoints have BERT's tokenizer, without having it.

        Names of weights may begin with "model.", as the training framework of the release writes
        them. The attention dropout in the public configs chose a kernel and was not trained with;
        here there is none. Whether padding costs work is a matter of the settings.
        """
        try:
            network: Any = load_pretrained(
                MosaicBertForMaskedLM,
                source,
                key_mapping={r"^model\.": ""},
                attention_probs_dropout_prob=0.0,
            )
        except UserError as error:
            raise UserError(
                f"{error}: give a MosaicBERT checkpoint, such as mosaicml/mosaic-bert-base"
            ) from error
        try:
            tokenizer = load_tokenizer(source)
        except UserError:
            if network.config.vocab_size != _PUBLIC_VOCABULARY:
                raise
            tokenizer = load_tokenizer("bert-base-uncased")
        network.config.unpadded = config.unpadded
        return config.sized_as(network.config), network, tokenizer

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Masks windows of token ids, more of them in training mode than in evaluation.

        Returns:
            What `mask_windows` returns, and
            layout: where the tokens stand without padding; it keeps padding where the config does.
            num_packed: tokens rounded up, by which batches of unlike work are told apart.
        """
        config = self.config
        ratio = config.mask_ratio if self.training else config.eval_mask_ratio
        batch = self.masked(examples, generator, ratio=ratio)
        mask = batch["attention_mask"].numpy()
        layout = packing(mask) if config.unpadded else not_packing(mask.shape)
        return {**batch, "layout": layout, "num_packed": -(-len(layout.rows) // _ALIKE) * _ALIKE}

    def logits(self, batch: Batch) -> Tensor:
        """What is predicted at the chosen positions [N, V]."""
        layout, network = batch["layout"], self.network
        ids = batch["input_ids"].flatten()[layout.rows]
        mask = None if self.config.unpadded else batch["attention_mask"]
        chosen = layout.find(batch["positions"])
        if self.config.masked_tail:
            return network.cls(network.bert.packed(ids, layout, attention_mask=mask, keep=chosen))
        return network.cls(network.bert.packed(ids, layout, attention_mask=mask))[chosen]

    def optim(self) -> Optim:
        """The recipe's optimiser (yaml), whose decay does not follow the rate."""
        config = self.config
        decay = config.weight_decay / config.lr  # torch's AdamW multiplies it by the rate
        more = {"betas": config.betas, "eps": 1e-6, "final_ratio": config.final_ratio}
        return Optim.of(config, weight_decay=decay, **more)

    @property
    def text_length(self) -> int:
        """Biases on distances reach beyond the length of training."""
        return self.config.num_positions
