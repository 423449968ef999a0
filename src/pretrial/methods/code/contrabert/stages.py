"""What ContraBERT trains: masked tokens, and each sample told from others by its variant."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pretrial.corrupt.masks import chosen_of, mask_windows
from pretrial.data.windows.pairs import pair_windows
from pretrial.methods.code.contrabert.config import Config
from pretrial.methods.code.contrabert.data import Sample, Variants
from pretrial.models.architectures.text_encoder import hidden_states, unit_vectors
from pretrial.objectives.contrastive import gathered, info_nce
from pretrial.objectives.momentum import Momentum
from pretrial.objectives.queue import KeyQueue
from pretrial.objectives.tokens import token_loss
from pretrial.train.stage import Batch, Trainable


class Contrast(Trainable):
    """An encoder, its momentum encoder, and a queue of the vectors of past variants.

    The encoder reads each sample with masks in. It names the hidden tokens, and its vector of the
    whole is to be nearer to what the momentum encoder gives for the variant, without masks, than to
    the vectors in the queue.

    Args:
        network: `RobertaForMaskedLM`.
        tokenizer: its tokenizer.
        config: the settings.
        variants: draws the variants.
    """

    compares_examples = True

    def __init__(self, network: Any, tokenizer: Any, config: Config, variants: Variants) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.config = config
        self.variants = variants
        self.momentum: Momentum | None = None
        self.queue: KeyQueue | None = None
        if config.contrast_weight:
            self.momentum = Momentum(network.roberta, config.momentum)
            self.queue = KeyQueue(config.queue_size, network.config.hidden_size)
        network.requires_grad_(True)
        if network.roberta.pooler is not None:  # waits for what is fine-tuned
            network.roberta.pooler.requires_grad_(False)
        if not config.mlm_weight:  # the head's matrix is that of the embeddings, which go on
            for name, parameter in network.lm_head.named_parameters():
                if not name.startswith("decoder.weight"):
                    parameter.requires_grad_(False)

    def batch(self, examples: Sequence[Sample], generator: torch.Generator) -> Batch:
        """Samples and their variants, both masked; see `mask_windows` for the fields of each."""
        seeds = torch.randint(2**62, (len(examples),), generator=generator).tolist()
        drawn = [
            self.variants.draw(sample, random.Random(seed))
            for sample, seed in zip(examples, seeds, strict=True)
        ]
        originals = self._masked(examples, generator)
        batch: Batch = {"originals": originals}
        counts = dict(originals["counts"])
        if self.config.contrast_weight or self.config.mlm_on_variants:
            variants = self._masked([variant for variant, _ in drawn], generator)
            batch["variants"] = variants
            counts["tokens"] += variants["counts"]["tokens"]
            counts["masked"] += variants["counts"]["masked"] * self.config.mlm_on_variants
            batch["num_changed"] = sum(bool(names) for _, names in drawn)
        return {**batch, "counts": counts}

    def _masked(self, samples: Sequence[Sample], generator: torch.Generator) -> dict[str, Any]:
        config, tokenizer = self.config, self.tokenizer
        comments, codes = [each.comment for each in samples], [each.code for each in samples]
        windows = pair_windows(comments, codes, tokenizer, config.max_length)
        return mask_windows(windows, tokenizer, generator, **config.mask_rates)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Both losses by their weights, and each of them."""
        config, counts = self.config, batch["counts"]
        originals = batch["originals"]
        states = self._read(originals)
        parts: dict[str, Tensor] = {}
        total = torch.zeros((), device=states.device)
        if config.mlm_weight:
            mlm = self._token_loss(states, originals, counts["masked"])
            if config.mlm_on_variants:
                other = batch["variants"]
                mlm = mlm + self._token_loss(self._read(other), other, counts["masked"])
            parts["mlm_loss"] = mlm
            total = total + config.mlm_weight * mlm
        if config.contrast_weight:
            parts["contrast_loss"] = self._contrast_loss(states, batch)
            total = total + config.contrast_weight * parts["contrast_loss"]
        if "num_changed" in batch:
            ratio = batch["num_changed"] / counts["examples"]
            parts["changed_ratio"] = torch.tensor(ratio, device=states.device)
        return {"loss": total, **parts}

    def _read(self, part: dict[str, Any]) -> Tensor:
        """Last hidden states [B, T, d] of sequences with masks in."""
        return hidden_states(self.network.roberta, part["input_ids"], part["attention_mask"])

    def _token_loss(self, states: Tensor, part: dict[str, Any], count: float) -> Tensor:
        """Cross-entropy at the chosen positions of states [B, T, d]."""
        logits = self.network.lm_head(chosen_of(states, part))  # [N, V]
        return token_loss(logits, chosen_of(part["labels"], part), count)

    def _contrast_loss(self, states: Tensor, batch: Batch) -> Tensor:
        """InfoNCE of samples against variants and the queue (MoCo, 1911.05722, equation 1)."""
        assert self.momentum is not None
        assert self.queue is not None
        pooling = self.config.pooling
        queries = unit_vectors(states, batch["originals"]["attention_mask"], pooling)
        variants = batch["variants"]
        with torch.no_grad():
            mask = variants["attention_mask"]
            whole = hidden_states(self.momentum.average, variants["labels"], mask)
            keys = unit_vectors(whole, mask, pooling)
        loss = info_nce(
            queries,
            keys,
            self.config.temperature,
            batch["counts"]["examples"],
            queue=self.queue,
            in_batch=self.config.batch_negatives,
        )
        self.queue.hold(gathered(keys))
        return loss

    def after_step(self) -> None:
        """The momentum encoder follows (MoCo, equation 2); variants' vectors enter the queue."""
        if self.momentum is not None:
            assert self.queue is not None
            self.momentum.update()
            self.queue.push()
