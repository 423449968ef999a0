"""The second stage (section 3.2): texts and codes that belong together."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pretrial.corrupt.masks import IGNORE
from pretrial.methods.code.codet5p.config import Config
from pretrial.methods.code.codet5p.data import Example
from pretrial.methods.code.codet5p.network.t5 import (
    MATCH,
    TO_CODE,
    TO_TEXT,
    Embedder,
    decoder_logits,
    embed,
    match_logits,
    task_ids,
)
from pretrial.models.architectures.seq2seq import encode_texts, pad_rows
from pretrial.objectives.contrastive import gathered, hard_negatives, info_nce
from pretrial.objectives.momentum import Momentum
from pretrial.objectives.queue import KeyQueue
from pretrial.objectives.tokens import token_loss
from pretrial.train.stage import Batch, Trainable


class Bimodal(Trainable):
    """Contrastive learning, matching, and writing each from the other, all of equal weight.

    Rows have one width, that of the settings, so that they fit into the queues and can be gathered
    from all processes. The first id of a queued row is no token but a checksum: candidates whose
    text or code equals the example's own are no negatives.

    Args:
        network: the T5 with its heads.
        tokenizer: its tokenizer.
        config: the settings.
    """

    compares_examples = True

    def __init__(self, network: Any, tokenizer: Any, config: Config) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.config = config
        self.tasks = task_ids(tokenizer)
        self.momentum: Momentum | None = None
        self.texts: KeyQueue | None = None
        self.codes: KeyQueue | None = None
        if config.contrastive and config.queue_size:
            size, width = config.queue_size, network.proj.out_features
            self.momentum = Momentum(Embedder(network.encoder, network.proj), config.momentum)
            pad = tokenizer.pad_token_id
            self.texts = KeyQueue(size, width, 1 + config.max_text, pad)
            self.codes = KeyQueue(size, width, 1 + config.max_code, pad)
        self.open_parts()

    def open_parts(self) -> None:
        """Lets those parameters learn that a loss reaches."""
        config, network = self.config, self.network
        network.requires_grad_(True)
        decodes = config.matching or config.generation
        network.decoder.block.requires_grad_(decodes)
        network.decoder.final_layer_norm.requires_grad_(decodes)
        network.proj.requires_grad_(config.contrastive)
        network.itm_head.requires_grad_(config.matching)
        if network.lm_head.weight is not network.shared.weight:
            network.lm_head.requires_grad_(config.generation)

    def batch(self, examples: Sequence[Example], generator: torch.Generator) -> Batch:
        """Token ids of texts and codes, one width each."""
        config, pad = self.config, self.tokenizer.pad_token_id
        texts = encode_texts(
            self.tokenizer, [e.text for e in examples], config.max_text, plain=True
        )
        codes = encode_texts(
            self.tokenizer, [e.code for e in examples], config.max_code, plain=True
        )
        checksums = [[_checksum(e.text), _checksum(e.code)] for e in examples]
        return {
            "text_ids": pad_rows(texts, pad, config.max_text),
            "code_ids": pad_rows(codes, pad, config.max_code),
            "checksums": torch.tensor(checksums),
            # of what is drawn for a pair: they hang on it alone, and so not on how the batch is
            # spread over processes; plain numbers, for generators are made from them
            "seeds": np.array([(text << 31 | code, code << 31 | text) for text, code in checksums]),
            "counts": {
                "examples": float(len(examples)),
                "tokens": float(sum(map(len, texts)) + sum(map(len, codes))),
                "text_targets": float(sum(map(len, texts)) - len(texts)),
                "code_targets": float(sum(map(len, codes)) - len(codes)),
            },
        }

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The sum of the losses that are on, and each of them."""
        # section 3.2: the sum of contrastive, matching and both generation losses, alike in weight
        config, network = self.config, self.network
        text_mask, code_mask = (self._mask(batch[name]) for name in ("text_ids", "code_ids"))
        texts = network.encoder(batch["text_ids"], attention_mask=text_mask).last_hidden_state
        parts: dict[str, Tensor] = {}
        codes = texts  # not read without these two losses
        if config.contrastive or config.generation:
            codes = network.encoder(batch["code_ids"], attention_mask=code_mask).last_hidden_state
        alike: tuple[Tensor, Tensor] | None = None
        if config.contrastive:
            vectors = embed(network.proj, texts), embed(network.proj, codes)
            keys = self._keys(batch, text_mask, code_mask, vectors)
            parts["contrastive_loss"] = self._contrast(batch, vectors, keys)
            if config.hard_negatives:
                alike = self._likeness(vectors, keys)
        if config.matching:
            parts["matching_loss"] = self._match(batch, alike, texts, text_mask)
        if config.generation:
            written = (
                ("code", texts, text_mask, batch["code_ids"], self.tasks[TO_CODE]),
                ("text", codes, code_mask, batch["text_ids"], self.tasks[TO_TEXT]),
            )
            for name, states, mask, rows, start in written:
                labels = rows[:, 1:].masked_fill(~self._mask(rows[:, 1:]).bool(), IGNORE)
                logits = decoder_logits(network, states, mask, labels, start)
                parts[f"{name}_loss"] = token_loss(
                    logits.flatten(0, 1), labels.flatten(), batch["counts"][f"{name}_targets"]
                )
        return {"loss": sum(parts.values(), torch.zeros((), device=texts.device)), **parts}

    def after_step(self) -> None:
        """The momentum encoder follows, and the batch's embeddings enter the queues."""
        if self.momentum is not None:
            assert self.texts is not None
            assert self.codes is not None
            self.momentum.update()
            self.texts.push()
            self.codes.push()

    def _mask(self, rows: Tensor) -> Tensor:
        """1 at tokens, 0 at padding."""
        return (rows != self.tokenizer.pad_token_id).long()

    def _keys(
        self,
        batch: Batch,
        text_mask: Tensor,
        code_mask: Tensor,
        vectors: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """What queries are compared with: embeddings of texts and of codes [B, d]."""
        if self.momentum is None:
            return vectors
        return self.momentum(batch["text_ids"], text_mask), self.momentum(
            batch["code_ids"], code_mask
        )

    def _contrast(
        self, batch: Batch, vectors: tuple[Tensor, Tensor], keys: tuple[Tensor, Tensor]
    ) -> Tensor:
        """InfoNCE from texts to codes and back; notes the keys for the queues."""
        temperature, count = self.config.temperature, batch["counts"]["examples"]
        there = info_nce(vectors[0], keys[1], temperature, count, queue=self.codes)
        back = info_nce(vectors[1], keys[0], temperature, count, queue=self.texts)
        if self.texts is not None and self.codes is not None:
            self.texts.hold(gathered(keys[0]), self._queued(batch, "text_ids"))
            self.codes.hold(gathered(keys[1]), self._queued(batch, "code_ids"))
        return (there + back) / 2

    def _queued(self, batch: Batch, name: str) -> Tensor:
        """Rows of all processes with their checksums in front [N, 1 + width]."""
        column = batch["checksums"][:, :1] if name == "text_ids" else batch["checksums"][:, 1:]
        return gathered(torch.cat([column, batch[name]], dim=1))

    @torch.no_grad()
    def _likeness(
        self, vectors: tuple[Tensor, Tensor], keys: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Cosines of own codes with all texts and of own texts with all codes [B, N] each."""
        found = []
        for side, queue in enumerate((self.texts, self.codes)):
            candidates = gathered(keys[side])
            if queue is not None:
                candidates = torch.cat([candidates, queue.keys])
            found.append(vectors[1 - side] @ candidates.T)
        return found[0], found[1]

    def _match(
        self, batch: Batch, alike: tuple[Tensor, Tensor] | None, states: Tensor, mask: Tensor
    ) -> Tensor:
        """Cross-entropy of "belong together" over pairs, mined codes and mined texts."""
        texts, codes, allowed = self._candidates(batch)
        mined_texts = self._mine(batch, alike, allowed, texts, 0)
        mined_codes = self._mine(batch, alike, allowed, codes, 1)
        mined_mask = self._mask(mined_texts)
        mined = self.network.encoder(mined_texts, attention_mask=mined_mask).last_hidden_state
        read = torch.cat([batch["code_ids"], mined_codes, batch["code_ids"]])
        logits = match_logits(
            self.network,
            self.tasks[MATCH],
            torch.cat([states, states, mined]),
            torch.cat([mask, mask, mined_mask]),
            read,
            self._mask(read),
        )
        size = len(states)
        labels = torch.arange(3 * size, device=states.device) < size  # the true pairs come first
        losses = F.cross_entropy(logits.float(), labels.long(), reduction="none")
        # an example without any negative has its true pair alone
        weights = torch.cat([torch.ones_like(losses[:size]), *2 * [allowed.any(1).float()]])
        return (losses * weights).sum() / (3 * batch["counts"]["examples"])

    def _candidates(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of texts and codes [N, width], and which are negatives of which example [B, N]."""
        texts, codes = self._queued(batch, "text_ids"), self._queued(batch, "code_ids")
        is_filled = torch.ones(len(texts), dtype=torch.bool, device=texts.device)
        if self.texts is not None and self.codes is not None:
            texts = torch.cat([texts, self.texts.ids.long()])
            codes = torch.cat([codes, self.codes.ids.long()])
            is_filled = torch.cat([is_filled, self.texts.is_filled])
        own = batch["checksums"]
        same = (own[:, :1] == texts[:, 0]) | (own[:, 1:] == codes[:, 0])
        return texts[:, 1:], codes[:, 1:], ~same & is_filled

    def _mine(
        self,
        batch: Batch,
        alike: tuple[Tensor, Tensor] | None,
        allowed: Tensor,
        rows: Tensor,
        side: int,
    ) -> Tensor:
        """Rows [B, width] to be told from the right ones: texts (side 0) or codes (side 1)."""
        scores = torch.zeros(allowed.shape, device=rows.device)
        temperature = float("inf")
        if alike is not None:
            scores, temperature = alike[side], self.config.mining_temperature
        return rows[hard_negatives(scores, allowed, temperature, batch["seeds"][:, side])]


def _checksum(text: str) -> int:
    """A checksum of 31 bits."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) >> 1
