"""ELECTRA: an encoder learns to tell which tokens of a text a small generator has put there.

A small masked language model, the generator, fills 15 % of the positions with tokens drawn from
what it predicts there. The encoder, called discriminator, sees the filled text and says of every
token whether it is the original one. Every position teaches something, not only the masked 15 %,
which is where the saving comes from; and the encoder never sees a mask token, as at fine-tuning.
Both are trained together and share their embeddings. It is no adversarial game: the generator is
trained by maximum likelihood, and nothing flows back through the drawing. The discriminator is
kept, the generator is thrown away.

Deviations from the paper:
1. A window holds one text, or a part of it, and one segment; texts are never joined in pairs.
2. Exactly round(0.15 n) of the n ordinary tokens are chosen, without replacement.
3. All chosen positions are masked, as the paper has it; the released code leaves 15 % of them as
   they are (`mask_prob=0.85`).
4. Weights of the ablations whose encoder predicts tokens are not published; they count once
   instead of `disc_weight` times.

| field | content |
| --- | --- |
| text | raw text of any length |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from transformers import ElectraForMaskedLM, ElectraForPreTraining

from pretrial.bases.text_encoder import TextEncoder
from pretrial.card import Card, Claim, Field
from pretrial.corrupt.masks import chosen_of, gumbel_noise, sample_tokens
from pretrial.methods.text.electra.config import Config
from pretrial.methods.text.electra.network import (
    GENERATOR,
    MEND,
    generator_config,
    generator_of,
    masked_logits,
    tie,
    token_logits,
)
from pretrial.objectives.tokens import copy_gate_loss, replaced_token_loss, token_loss
from pretrial.train.budget import Budget
from pretrial.train.stage import Batch, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "ELECTRA", "Config"]

CARD = Card(
    slug="electra",
    title="ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators",
    authors="Clark and others",
    year=2020,
    arxiv="2003.10555",
    summary="An encoder learns to tell original tokens from those a small generator put in",
    baseline="mlm",
    abilities=("encode", "classify"),
    fields=(Field("text", "raw text of any length"),),
    claims=(
        Claim("GLUE dev 79.9 against 75.1 of BERT at the small size and equal compute", "Table 1"),
        Claim("GLUE dev 85.1 against 82.2 of BERT at the base size", "Table 1"),
        Claim(
            "GLUE dev: all tokens 85.0, all-tokens MLM 84.3, replace MLM 82.4, loss on the masked"
            " 15 % only 82.4, BERT 82.2",
            "Table 5",
        ),
    ),
)


class ELECTRA(TextEncoder):
    """Generator and discriminator, trained together; the discriminator is the encoder.

    Attributes:
        network: the discriminator, or a masked language model in two of the ablations.
        generator: draws the tokens; None where no network does.
        copy_gate: of the objective "all_tokens_mlm", else None.
        phase: what is being trained: "joint", or in two stages "generator", then "encoder".
    """

    Config: ClassVar[type] = Config
    mend = MEND
    other_heads = ("ElectraForPreTraining", "ElectraForMaskedLM")

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config, network, tokenizer)
        self.phase: Literal["joint", "generator", "encoder"] = "joint"
        gated = config.objective == "all_tokens_mlm"
        self.copy_gate = nn.Linear(config.width, 1) if gated else None
        self.generator: Any = None
        if config.generator == "learned":
            ratios = config.generator_width_ratio, config.generator_depth_ratio
            self.generator = ElectraForMaskedLM(generator_config(network.config, *ratios))
            tie(self.generator, network, config.tie)

    @classmethod
    def network_class(cls, config: Any) -> Any:
        """The class of the encoder."""
        binary = config.objective == "replaced_tokens"
        return ElectraForPreTraining if binary else ElectraForMaskedLM

    def modules_beside(self) -> dict[str, nn.Module]:
        """The gate, where there is one."""
        return {} if self.copy_gate is None else {"copy_gate": self.copy_gate}

    def adopt(self, source: str | Path) -> None:
        """Takes over the generator that lies with the encoder; else it is randomly initialised."""
        super().adopt(source)
        if self.generator is not None:
            self.generator = generator_of(source) or self.generator
            tie(self.generator, self.network, self.config.tie)

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Masks windows for the generator; `mask_windows` tells the fields."""
        return self.masked(examples, generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """L_MLM + lambda * L_Disc, and its parts (section 2)."""
        config, masked = self.config, batch["counts"]["masked"]
        total = torch.zeros((), device=batch["labels"].device)
        parts: dict[str, Tensor] = {}
        logits = self.generator_logits(batch)
        if self.generator is not None:
            parts["mlm_loss"] = token_loss(logits, chosen_of(batch["labels"], batch), masked)
            total = total + config.gen_weight * parts["mlm_loss"]
        if self.phase != "generator":
            corrupted = self.corrupt(batch, logits)
            parts["replaced_ratio"] = (corrupted != batch["labels"]).sum() / masked
            parts["disc_loss"] = self.encoder_loss(batch, corrupted)
            weight = config.disc_weight if config.objective == "replaced_tokens" else 1.0
            total = total + weight * parts["disc_loss"]
        return {"loss": total, **parts}

    def generator_logits(self, batch: Batch) -> Tensor:
        """What tokens are drawn from at the chosen positions [N, V]."""
        if self.generator is None:
            num_chosen, vocab_size = len(batch["positions"]), self.config.vocab_size
            return torch.zeros(num_chosen, vocab_size, device=batch["labels"].device)
        return masked_logits(self.generator, batch)

    def corrupt(self, batch: Batch, logits: Tensor) -> Tensor:
        """The original tokens [B, T], with drawn ones at the chosen positions, without gradient."""
        ids = batch["labels"]
        noise = [
            gumbel_noise(int(number), logits.shape[1], int(seed), ids.device)
            for number, seed in zip(batch["num_chosen"], batch["seeds"], strict=True)
        ]
        original = chosen_of(ids, batch)
        drawn = sample_tokens(
            logits,
            torch.cat(noise),
            self.config.temperature,
            forbidden=original if self.config.disallow_correct else None,
        )
        corrupted = ids.flatten().clone()
        corrupted[batch["positions"]] = drawn
        return corrupted.view_as(ids)

    def encoder_loss(self, batch: Batch, corrupted: Tensor) -> Tensor:
        """The loss of the encoder, which sees the corrupted text [B, T]."""
        ids, mask, counts = batch["labels"], batch["attention_mask"], batch["counts"]
        if self.config.objective == "replace_mlm":
            logits = masked_logits(self.network, {**batch, "input_ids": corrupted})
            return token_loss(logits, chosen_of(ids, batch), counts["masked"])
        if self.copy_gate is not None:
            states = self.states(corrupted, mask)[mask]
            logits, gate = token_logits(self.network, states), self.copy_gate(states).squeeze(-1)
            return copy_gate_loss(logits, gate, corrupted[mask], ids[mask], counts["tokens"])
        logits = self.network.discriminator_predictions(self.states(corrupted, mask))
        # a token that was drawn by luck is the original one (section 2)
        replaced = corrupted != ids
        if self.config.loss_on == "masked":  # "ELECTRA 15 %"
            return replaced_token_loss(logits, replaced, batch["loss_mask"], counts["masked"])
        return replaced_token_loss(logits, replaced, mask, counts["tokens"])

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage; with `two_stage` two, of half the budget each."""
        if not self.config.two_stage:
            yield self.stage("train", run, run.budget)
            return
        half = Budget(run.budget.amount / 2, run.budget.unit)
        self.phase = "generator"
        self.network.requires_grad_(False)
        yield self.stage("generator", run, half)
        self.phase = "encoder"
        self.network.electra.load_state_dict(self.generator.electra.state_dict())
        self.network.requires_grad_(True)
        self.generator.requires_grad_(False)
        yield self.stage("encoder", run, half)

    def save(self, folder: Path) -> None:
        """Encoder and tokenizer in the layout of transformers, the generator in a folder inside."""
        super().save(folder)
        if self.generator is not None:
            self.generator.save_pretrained(folder / GENERATOR)
