"""DrBERT (later BPDec): further layers between BERT and its head, for pre-training only.

BERT's encoder does two things at once: it represents a text, and it guesses hidden tokens, which no
later task needs. Here a decoder of a few more layers takes over the guessing. It is cut off at the
end, so the encoder costs what BERT costs. In the decoder's first layer most hidden positions are no
keys, as little is known of them yet; later layers read them all ("gradual unmasking"). And which
states the head reads is drawn at random, the decoder's or the encoder's own, so that the encoder
still learns to guess and its last layer is of use when it stands alone.

Deviations from the paper:
1. Several facts were not found in the paper or in code; Config marks them "assumed". All the
   positions that are to be predicted count as hidden ones, also where the token stayed.
2. A key is shown by a draw of its own, for each text each time, and so is what the head reads,
   token by token.
3. Next-sentence prediction is left out; a window holds one text, or a part of it.
4. Exactly round(0.15 n) of the n ordinary tokens are chosen, anew each time.
5. The exported pooler, which nothing has trained, is the identity.

| field | content |
| --- | --- |
| text | raw text of any length |
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from transformers import BertForMaskedLM, BertModel, PreTrainedModel

from pretrial.bases.text_encoder import TextEncoder
from pretrial.card import Card, Claim, Field
from pretrial.corrupt.masks import chosen_of
from pretrial.methods.text.drbert.config import Config
from pretrial.methods.text.drbert.network import MaskDecoder
from pretrial.train.stage import Batch

__all__ = ["CARD", "Config", "DrBERT"]

CARD = Card(
    slug="drbert",
    title="DrBERT: Unveiling the Potential of Masked Language Modeling Decoder in BERT pretraining",
    authors="Liang and Liang",
    year=2024,
    arxiv="2401.15861",
    summary="BERT guesses hidden tokens through further layers that are cut off afterwards",
    baseline="mlm",
    abilities=("encode", "classify"),
    fields=(Field("text", "raw text of any length"),),
    claims=(
        Claim("better on GLUE than BERT, at no further cost of inference or serving", "abstract"),
    ),
)

Read = Literal["mixed", "decoder", "encoder"]


class DrBERT(TextEncoder):
    """BERT with its head, and a decoder between the two.

    Attributes:
        network: BERT and its head.
        decoder: what is cut off afterwards.
    """

    Config: ClassVar[type] = Config
    mend = (
        "give the name or folder of a BERT checkpoint, such as google-bert/bert-base-uncased (the"
        " French biomedical models that are called DrBERT are another work)"
    )
    beside = ("cls.seq_relationship.",)

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config, network, tokenizer)
        self.decoder = MaskDecoder(network.config, config.decoder_layers)
        self.decoder.apply(network._init_weights)

    @classmethod
    def network_class(cls, config: Any) -> Any:
        """BERT with its head."""
        return BertForMaskedLM

    def modules_beside(self) -> dict[str, MaskDecoder]:
        """The decoder."""
        return {"decoder": self.decoder}

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Masks windows of token ids.

        Returns:
            What `mask_windows` returns, and
            hidden: True at the keys that the first layer of "gua" does not read [B, T].
            from_encoder: True where the head of "mix" reads the encoder's state [B, T].
        """
        config = self.config
        batch = self.masked(examples, generator, whole_words=config.whole_words)
        draws = torch.ones(2, *batch["input_ids"].shape)  # [2, B, T]
        for row, (window, seed) in enumerate(zip(examples, batch["seeds"], strict=True)):
            own = torch.Generator().manual_seed(int(seed))
            draws[:, row, : len(window) + 2] = torch.rand(2, len(window) + 2, generator=own)
        hidden = batch["loss_mask"] & (draws[0] >= config.visible_ratio)
        return {**batch, "hidden": hidden, "from_encoder": draws[1] < config.encoder_prob}

    def logits(self, batch: Batch, read: Read | None = None) -> Tensor:
        """What is predicted at the chosen positions [N, V].

        Args:
            batch: what `batch` gives.
            read: the states that the head reads; by default "mixed" in training, where the design
                says so, else "decoder".
        """
        if read is None:
            read = "mixed" if self.training and "mix" in self.config.design else "decoder"
        # the encoder's attention stays BERT's own, whatever the decoder hides
        states = self.states(batch["input_ids"], batch["attention_mask"])
        chosen = chosen_of(states, batch)
        if read != "encoder":
            deep = chosen_of(self.decode(states, batch), batch)
            if read == "mixed":
                own = chosen_of(batch["from_encoder"], batch).unsqueeze(-1)
                deep = torch.where(own, chosen, deep)
            chosen = deep
        return self.network.cls(chosen)

    def decode(self, states: Tensor, batch: Batch) -> Tensor:
        """The decoder's last states [B, T, d]."""
        design = self.config.design
        places = None
        if design == "emd":
            table = self.network.bert.embeddings.position_embeddings.weight
            places = table[: states.shape[1]]
        hidden = batch["hidden"] if "gua" in design else None
        return self.decoder(states, batch["attention_mask"], hidden, places)

    def export(self) -> PreTrainedModel:
        """The encoder as a plain `BertModel`, without decoder and head."""
        network = BertModel(copy.deepcopy(self.network.config))
        weights = self.network.bert.state_dict()
        weights["pooler.dense.weight"] = torch.eye(self.config.width)
        weights["pooler.dense.bias"] = torch.zeros(self.config.width)
        network.load_state_dict(weights)
        return network.to(self.network.device)
