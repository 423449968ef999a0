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
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from pretrial.bases.language_model import DecoderMethod
from pretrial.card import Card, Claim, Field
from pretrial.checkpoints.keys import load_config
from pretrial.convert.megatron import load_release
from pretrial.errors import UserError
from pretrial.evaluate.spectra import effective_rank, layer_similarity
from pretrial.methods.text.polycom.config import Config
from pretrial.methods.text.polycom.network.language_model import (
    PolyLlamaConfig,
    PolyLlamaForCausalLM,
    PolyOlmoeConfig,
    PolyOlmoeForCausalLM,
    warm_start,
)
from pretrial.methods.text.polycom.network.polynomial import PolynomialActivation
from pretrial.models.architectures.language_model import CausalLM
from pretrial.models.architectures.mixture_lm import MixtureLM
from pretrial.train.stage import Optim

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
            "(secondary) Table 1",
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

    def new_language_model(self, network: Any, tokenizer: Any) -> CausalLM:
        """Learns windows of token ids; with experts, to spread them too."""
        if not hasattr(network.config, "num_experts"):
            return super().new_language_model(network, tokenizer)
        return MixtureLM(network, tokenizer, self.config.balance_weight, self.config.router_weight)

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """See `DecoderMethod.load`; of the release, in Megatron's layout, settings tell the sizes.

        Raises:
            UserError: it is neither ours nor the release's, nor with `warm_start` a Llama or OLMoE.
        """
        path = Path(source)
        if path.is_file() or (path.is_dir() and not (path / "config.json").is_file()):
            if config.num_experts:
                raise UserError("the released weights are of the dense model: set num_experts=0")
            network, tokenizer = load_release(
                path,
                partial(cls.new_network, config, config.vocab_size),
                "mlp.activation_func.weight",
                "name a checkpoint of polycom",
            )
            return config.sized_as(network.config), network, tokenizer
        kind = load_config(source).model_type
        if kind in ("poly_llama", "poly_olmoe"):
            return super().load(config, source)
        if kind not in ("llama", "olmoe"):
            raise UserError(
                f"{source} is a {kind}: name a checkpoint of Llama, OLMoE or of polycom"
            )
        if not config.warm_start:
            raise UserError(
                f"{source} is a trained {kind} with gated layers, for which a polynomial is no"
                " replacement: set warm_start to begin its feed-forward layers anew and train again"
            )
        _, network, tokenizer = super().load(config, source)
        network = warm_start(network, config)
        return config.sized_as(network.config), network, tokenizer

    def optim(self) -> Optim:
        """A cosine to a share of the peak."""
        final = self.config.final_ratio
        return Optim.of(self.config, betas=(0.9, 0.95), schedule="cosine", final_ratio=final)

    def analyse(self, examples: Sequence[str], *, num_windows: int = 8) -> Iterator[dict[str, Any]]:
        """Each layer's coefficients, effective ranks and likeness to the others (section 4.3).

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
