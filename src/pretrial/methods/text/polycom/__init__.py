"""PolyCom: activations that are polynomials with trained coefficients, composed with a function.

A feed-forward layer needs a non-linear function between its two matrices. Here that is a sum of
powers: of ReLU(x) (PolyReLU), or of x, each power divided by its root mean square over the hidden
vector (PolyNorm), so that no power outgrows the others. A layer trains the few coefficients along
with its weights; no gate is needed, and the width that a gate would cost goes into the hidden
vector. The point is that products of features arise in one layer, where ReLU must piece them
together. Powers are computed again in the backward pass, so that memory stays that of a plain
activation.

Deviations from the paper:
1. x is divided by its largest value before powers are taken, and the normalisation's eps by the
   same to the right power: no overflow, the same function.
2. Tokens are spread over experts sequence by sequence, so that the loss of a batch is the sum over
   its parts; the release does so over what one device holds.
3. Experts of a layer share one set of coefficients, as in the release, but each normalises its own
   hidden vector; the release finds that layout by dividing sizes.
4. Coefficients are not decayed; the release decays those of its mixture of experts.

| field | content |
| --- | --- |
| text | raw text of any length |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from pretrial.bases.language_model import DecoderMethod
from pretrial.card import Card, Claim, Field
from pretrial.corrupt.masks import chosen_of
from pretrial.errors import UserError
from pretrial.methods.text.polycom.config import Config
from pretrial.methods.text.polycom.network.language_model import (
    PolyLlamaConfig,
    PolyLlamaForCausalLM,
    PolyOlmoeConfig,
    PolyOlmoeForCausalLM,
)
from pretrial.methods.text.polycom.network.polynomial import PolynomialActivation
from pretrial.methods.text.polycom.network.public import load_network
from pretrial.methods.text.polycom.network.spectra import effective_rank, layer_similarity
from pretrial.objectives.experts import balance_loss, router_loss
from pretrial.objectives.tokens import token_loss
from pretrial.train.stage import Batch, Optim

__all__ = ["CARD", "Config", "PolyCom"]

CARD = Card(
    slug="polycom",
    title="Polynomial Composition Activations: Unleashing the Dynamics of Large Language Models",
    authors="Zhuo and others",
    year=2024,
    arxiv="2411.03884",
    summary="Feed-forward layers with polynomials of trained coefficients instead of a gate",
    baseline="swiglu",
    abilities=("generate", "analyse"),
    fields=(Field("text", "raw text of any length"),),
    claims=(
        Claim(
            "1 B dense: training loss 2.17 with PolyNorm against 2.19 with SwiGLU, validation"
            " perplexity 3.17 against 3.22, 1.21 points more over six tasks",
            "(secondary) results of the dense model",
        ),
        Claim(
            "1 B of 7 B: validation loss 0.02 lower over eleven sets, better on 8 of 9 tasks",
            "(secondary) results of the mixture of experts",
        ),
        Claim("optimal rate of approximating smooth (Sobolev) functions", "abstract"),
    ),
)


class PolyCom(DecoderMethod):
    """A causal language model whose feed-forward layers have polynomial activations."""

    Config: ClassVar[type] = Config

    @classmethod
    def new_network(cls, config: Any, vocab_size: int) -> Any:
        """An untrained `PolyLlamaForCausalLM`, or with experts `PolyOlmoeForCausalLM`."""
        fields: dict[str, Any] = config.activation_fields() | {
            "initializer_range": config.init_std,
            "tie_word_embeddings": config.tied,
            "rms_norm_eps": 1e-5,
        }
        if not config.num_experts:
            fields["gated"] = config.gated
            sizes = cls.network_config(config, PolyLlamaConfig, vocab_size, **fields)
            return PolyLlamaForCausalLM(sizes)
        fields |= {"num_experts": config.num_experts}
        fields |= {"num_experts_per_tok": config.experts_per_token}
        sizes = cls.network_config(config, PolyOlmoeConfig, vocab_size, **fields)
        sizes.pad_token_id = None  # OLMoE's own, whose embedding would be 0
        return PolyOlmoeForCausalLM(sizes)

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, Any, Any]:
        """See `LanguageMethod.load`; what may be a checkpoint, `load_network` tells."""
        network, tokenizer = load_network(source, config, cls.new_network)
        return config.sized_as(network.config), network, tokenizer

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy of the next token; with experts, with the losses of their routers."""
        if not hasattr(self.network.config, "num_experts"):
            return super().losses(batch)
        ids, counts = batch["input_ids"], batch["counts"]
        found = self.network.base_model(input_ids=ids, use_cache=False, output_router_logits=True)
        logits = self.network.lm_head(chosen_of(found.last_hidden_state, batch))  # [N, V]
        main = token_loss(logits, chosen_of(batch["labels"], batch), counts["targets"])
        routers = torch.stack(found.router_logits).unflatten(1, ids.shape)  # [L, B, T, E]
        chosen, config = self.network.config.num_experts_per_tok, self.config
        balance = balance_loss(routers, chosen, counts["examples"])
        small = router_loss(routers, counts["examples"])
        total = main + config.balance_weight * balance + config.router_weight * small
        return {"loss": total, "text_loss": main, "balance_loss": balance, "router_loss": small}

    def optim(self) -> Optim:
        """A cosine to a share of the peak."""
        config = self.config
        return Optim(
            config.lr,
            config.weight_decay,
            betas=(0.9, 0.95),
            schedule="cosine",
            warmup=config.warmup,
            final_ratio=config.final_ratio,
        )

    def analyse(self, examples: Sequence[str], *, num_windows: int = 8) -> Iterator[dict[str, Any]]:
        """For each layer its coefficients, effective ranks, and how alike it is to the others.

        Args:
            examples: texts.
            num_windows: windows of them that similarities are measured on.
        """
        windows = list(islice(self.windows(examples), num_windows))
        if not windows:
            raise UserError(f"the texts do not fill a window of {self.config.max_length} tokens")
        similarity = layer_similarity(self.network, windows)
        for number, layer in enumerate(self.network.model.layers):
            mlp = getattr(layer.mlp, "experts", layer.mlp)
            row: dict[str, Any] = {"layer": number}
            if isinstance(mlp.activation_func, PolynomialActivation):
                row["coefficients"] = mlp.activation_func.coefficients()
            for name in ("up_proj", "down_proj"):
                weight = getattr(mlp, name)
                weight = getattr(weight, "weight", weight).flatten(0, -2)
                row[f"{name}_rank"] = round(effective_rank(weight), 2)
            row["similarity"] = [round(value, 4) for value in similarity[number].tolist()]
            yield row
