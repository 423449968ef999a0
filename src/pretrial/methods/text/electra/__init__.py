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

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    ElectraForMaskedLM,
    ElectraForPreTraining,
    PreTrainedModel,
)

from pretrial.card import Card, Claim, Field
from pretrial.checkpoints.keys import load_strict, read_weights
from pretrial.convert.electra import GENERATOR, generator_of
from pretrial.corrupt.masks import chosen_of, gumbel_noise, sample_tokens
from pretrial.errors import UserError
from pretrial.methods.text import mlm
from pretrial.models.architectures.electra_pair import (
    Tie,
    generator_config,
    hidden_states,
    masked_logits,
    tie,
    token_logits,
)
from pretrial.objectives.tokens import copy_gate_loss, replaced_token_loss, token_loss
from pretrial.train.budget import Budget
from pretrial.train.stage import Batch, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

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


_GATE = "copy_gate.safetensors"


@dataclass(frozen=True)
class Config(mlm.Config):
    """Settings of ELECTRA, by default those of ELECTRA-small.

    Sections are the paper's; files are those of google-research/electra.

    Attributes:
        mask_prob: share of the chosen that becomes the mask token for the generator.
        random_prob: share of the chosen that becomes a random token for the generator.
        generator: "uniform" draws any token with equal probability, without a network.
        generator_width_ratio: hidden size of the generator over that of the encoder.
        generator_depth_ratio: layers of the generator over those of the encoder.
        tie: what the generator shares with the encoder.
        temperature: of the drawing.
        disallow_correct: never draw the original token.
        gen_weight: of the generator's loss.
        disc_weight: of the discriminator's loss.
        objective: what the encoder learns: "replaced_tokens" (ELECTRA), "replace_mlm" (the original
            tokens at the chosen positions, where it sees drawn ones) or "all_tokens_mlm" (the
            original tokens everywhere, with a gate that copies the input).
        loss_on: the positions that the discriminator learns from: "all" or "masked" ("15 %").
        two_stage: first the generator alone, then the encoder from its weights, with it frozen.
    """

    mask_prob: float = 1.0  # section 2; 0.85 in pretrain_helpers.py
    random_prob: float = 0.0  # section 2
    generator: Literal["learned", "uniform"] = "learned"  # section 2
    generator_width_ratio: float = 0.25  # configure_pretraining.py
    generator_depth_ratio: float = 1.0  # section 3.2
    tie: Tie = "embeddings"  # section 3.2
    temperature: float = 1.0  # configure_pretraining.py
    disallow_correct: bool = False  # section 2
    gen_weight: float = 1.0  # section 2
    disc_weight: float = 50.0  # configure_pretraining.py
    objective: Literal["replaced_tokens", "replace_mlm", "all_tokens_mlm"] = "replaced_tokens"
    loss_on: Literal["all", "masked"] = "all"
    two_stage: bool = False

    def __post_init__(self) -> None:
        if self.two_stage and (self.tie != "none" or self.generator == "uniform"):
            raise UserError('two_stage needs a learned generator of its own: set tie="none"')
        if (self.two_stage or self.tie == "all") and self.generator_width_ratio != 1:
            raise UserError(
                'two_stage and tie="all" need networks of one size: set generator_width_ratio=1'
            )
        if self.objective != "replaced_tokens" and (self.two_stage or self.loss_on == "masked"):
            raise UserError('two_stage and loss_on="masked" are for objective="replaced_tokens"')

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return replace(super().tiny(), generator_width_ratio=0.5)

    @classmethod
    def paper(cls, name: str = "small") -> Self:
        """The published sizes: "small" (14 M parameters), "base" (110 M), "large" (335 M)."""
        config = super().paper(name)
        ratio = {"small": 1 / 4, "base": 1 / 3, "large": 1 / 4}[name]
        mask_ratio = 0.25 if name == "large" else 0.15
        return replace(config, generator_width_ratio=ratio, mask_ratio=mask_ratio)


class ELECTRA(mlm.MLM):
    """Generator and discriminator, trained together; the discriminator is the encoder.

    Attributes:
        encoder: the discriminator, or a masked language model in two of the ablations.
        generator: draws the tokens; None where no network does.
        copy_gate: of the objective "all_tokens_mlm", else None.
        phase: what is being trained: "joint", or in two stages "generator", then "encoder".
    """

    Config: ClassVar[type] = Config

    def __init__(self, config: Any, sizes: Any, tokenizer: Any = None) -> None:
        super().__init__(config, sizes, tokenizer)
        self.phase: Literal["joint", "generator", "encoder"] = "joint"
        gated = config.objective == "all_tokens_mlm"
        self.copy_gate = nn.Linear(config.width, 1) if gated else None
        self.generator: Any = None
        if config.generator == "learned":
            ratios = config.generator_width_ratio, config.generator_depth_ratio
            self.generator = ElectraForMaskedLM(generator_config(sizes, *ratios))
            tie(self.generator, self.encoder, config.tie)

    @staticmethod
    def network_class(config: Any) -> type[PreTrainedModel]:
        """The class of the encoder."""
        binary = config.objective == "replaced_tokens"
        return ElectraForPreTraining if binary else ElectraForMaskedLM

    def adopt(self, network: Any, source: str | Path) -> None:
        """Takes over the encoder, and the generator that lies with it; else it begins at random."""
        super().adopt(network, source)
        if self.generator is not None:
            self.generator = generator_of(source) or self.generator
            tie(self.generator, self.encoder, self.config.tie)
        if self.copy_gate is not None and (Path(source) / _GATE).is_file():
            load_strict(self.copy_gate, read_weights(Path(source) / _GATE), source)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """L_MLM + lambda * L_Disc, and its parts."""
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
        """The original tokens [B, T], with drawn ones at the chosen positions."""
        ids, positions, device = batch["labels"], batch["positions"], batch["labels"].device
        noise = [
            gumbel_noise(int(number), logits.shape[1], int(seed), device)
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
        corrupted[positions] = drawn
        return corrupted.view_as(ids)

    def encoder_loss(self, batch: Batch, corrupted: Tensor) -> Tensor:
        """The loss of the encoder, which sees the corrupted text [B, T]."""
        ids, real, counts = batch["labels"], batch["attention_mask"], batch["counts"]
        if self.config.objective == "replace_mlm":
            logits = masked_logits(self.encoder, {**batch, "input_ids": corrupted})
            return token_loss(logits, chosen_of(ids, batch), counts["masked"])
        if self.copy_gate is not None:
            states = hidden_states(self.encoder, corrupted, real)[real]
            logits, gate = token_logits(self.encoder, states), self.copy_gate(states).squeeze(-1)
            return copy_gate_loss(logits, gate, corrupted[real], ids[real], counts["tokens"])
        states = hidden_states(self.encoder, corrupted, real)
        logits = self.encoder.discriminator_predictions(states)
        asked, count = real, counts["tokens"]
        if self.config.loss_on == "masked":
            asked, count = batch["loss_mask"], counts["masked"]
        return replaced_token_loss(logits, corrupted != ids, asked, count)

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage; with `two_stage` two, of half the budget each."""
        if not self.config.two_stage:
            yield self.stage("train", run, run.budget)
            return
        half = Budget(run.budget.amount / 2, run.budget.unit)
        self.phase = "generator"
        self.encoder.requires_grad_(False)
        yield self.stage("generator", run, half)
        self.phase = "encoder"
        self.encoder.electra.load_state_dict(self.generator.electra.state_dict())
        self.encoder.requires_grad_(True)
        self.generator.requires_grad_(False)
        yield self.stage("encoder", run, half)

    def export(self) -> PreTrainedModel:
        """The discriminator, `ElectraForPreTraining`; a masked language model in two ablations."""
        return self.encoder

    def save(self, folder: Path) -> None:
        """Encoder and tokenizer in the layout of transformers, the generator in a folder inside."""
        super().save(folder)
        if self.generator is not None:
            self.generator.save_pretrained(folder / GENERATOR)
        if self.copy_gate is not None:
            save_file(self.copy_gate.state_dict(), folder / _GATE)
