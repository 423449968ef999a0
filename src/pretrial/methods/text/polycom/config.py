"""Settings of PolyCom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from pretrial.bases.config import Optimisation, TransformerSizes, published_size
from pretrial.errors import UserError


@dataclass(frozen=True)
class Config(Optimisation, TransformerSizes):
    """Settings of a language model with polynomial activations, by default the dense one of 1.3 B.

    "dense" is dense_model/examples/llama2/run_pretrain_megatron_llama.sh with run_pretrain.sh of
    BryceZhuo/PolyCom, "moe" is moe_model/configs/exps/OLMoE-1B-7B-0924_PolyNorm.yml there.

    Attributes:
        activation: "polynorm", "polyrelu", "powers" (of x as it is), or one that transformers
            knows, such as "gelu", "relu" or "silu".
        gated: with a gate in front, as SwiGLU has (`activation=silu`).
        order: highest power.
        trained: whether the coefficients are trained.
        recompute: powers are computed again in the backward pass instead of being kept.
        vocab_size: most entries of the vocabulary that is learned when there is no checkpoint.
        feed_forward: inner width of the feed-forward layers, or of an expert. Without a gate, 1.5
            times that of a gated layer has as many parameters.
        num_kv_heads: heads of keys and values; 0 is as many as `num_heads`.
        num_experts: of each layer; 0 has one feed-forward layer, as Llama.
        experts_per_token: experts that work for a token.
        balance_weight: of the loss that spreads tokens over experts.
        router_weight: of the loss that keeps the router's logits small.
        tied: the output matrix is that of the embeddings.
        init_std: deviation of the weights at the beginning.
        max_length: tokens of a window.
        final_ratio: learning rate at the end as a share of the peak.
        weight_decay: of matrices; coefficients are not decayed.
        warm_start: take over all but the feed-forward layers of a Llama or OLMoE checkpoint. They
            are randomly initialised, so that it is to be trained again.
    """

    activation: str = "polynorm"
    gated: bool = False
    order: int = 3  # section 4.3 tries 2 to 4
    trained: bool = True
    recompute: bool = True
    vocab_size: int = 32_000  # Llama 2's tokenizer, dense
    width: int = 2048  # dense
    feed_forward: int = 8256  # dense, 5504 * 3 / 2
    num_layers: int = 24  # dense
    num_heads: int = 16  # dense
    num_kv_heads: int = 0
    num_experts: int = 0
    experts_per_token: int = 8  # moe
    balance_weight: float = 0.01  # moe
    router_weight: float = 0.001  # moe
    tied: bool = False  # dense
    init_std: float = 0.014  # dense, 0.013975
    max_length: int = 4096  # dense
    batch_size: int = 64  # dense
    lr: float = 3e-4  # dense
    final_ratio: float = 0.1  # dense, to 3e-5
    warmup: float = 0.0062  # dense, 620 M of 100 B tokens
    weight_decay: float = 0.1  # dense
    warm_start: bool = False

    #: Published parameters of what `export` gives, for each name that `paper` knows.
    published: ClassVar[dict[str, float]] = {"dense": 1.3e9, "moe": 6.9e9}

    def __post_init__(self) -> None:
        if self.width % self.num_heads or self.num_heads % (self.num_kv_heads or 1):
            raise UserError(
                "width must be a multiple of num_heads, and num_heads one of num_kv_heads"
            )
        if self.order < 1:
            raise UserError(f"order must be 1 or more, not {self.order}")
        if self.num_experts and self.gated:
            raise UserError("experts here have no gate: leave out gated, or set num_experts=0")
        if self.num_experts and not 0 < self.experts_per_token <= self.num_experts:
            raise UserError(
                f"experts_per_token must be 1 to {self.num_experts}, not {self.experts_per_token}"
            )

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return cls(
            vocab_size=320,
            width=32,
            feed_forward=48,
            num_layers=2,
            num_heads=2,
            max_length=16,
            batch_size=8,
            lr=3e-3,
            warmup=2,
        )

    @classmethod
    def small(cls) -> Self:
        """0.5 M parameters, for a megabyte of text: minutes on two cores."""
        return cls(
            vocab_size=1024,
            width=96,
            feed_forward=384,
            num_layers=4,
            num_heads=4,
            tied=True,
            init_std=0.02,
            max_length=64,
            batch_size=8,
            lr=3e-3,
            warmup=0.1,
        )

    @classmethod
    def paper(cls, name: str = "dense") -> Self:
        """The published sizes: "dense" (1.3 B parameters) and "moe" (6.9 B, 1 B at work)."""
        dense = cls()
        moe = replace(
            dense,
            vocab_size=50_304,
            feed_forward=1536,
            num_layers=16,
            num_experts=64,
            init_std=0.02,
            batch_size=1024,
            lr=4e-4,
            warmup=0.0021,
        )
        return published_size(name, {"dense": dense, "moe": moe})

    def with_activation(self, activation: str, *, gated: bool = False) -> Self:
        """The same with another activation and, but for the coefficients, as many parameters."""
        inner = self.feed_forward
        if gated and not self.gated:
            inner = inner * 2 // 3
        elif self.gated and not gated:
            inner = inner * 3 // 2
        return replace(self, activation=activation, gated=gated, feed_forward=inner)

    def activation_fields(self) -> dict[str, Any]:
        """What the networks' configs say of the activation."""
        return {
            "hidden_act": self.activation,
            "poly_order": self.order,
            "poly_trained": self.trained,
            "poly_recompute": self.recompute,
        }
