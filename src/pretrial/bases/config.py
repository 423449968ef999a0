"""Settings that the Configs of many methods share: of optimisation, and a Transformer's sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from pretrial.errors import UserError

T = TypeVar("T")

#: Sizes of a method that have names, from the smallest on. "base" is `Config()`.
PRESETS: tuple[str, ...] = ("tiny", "small", "base")

#: What transformers calls the sizes: for each of ours the names that its configs may have.
_THEIRS: dict[str, tuple[str, ...]] = {
    "vocab_size": ("vocab_size",),
    "embedding_size": ("embedding_size",),
    "width": ("hidden_size", "d_model", "n_embd", "dim"),
    "num_layers": (
        "num_hidden_layers",
        "num_layers",
        "n_layer",
        "n_layers",
        "encoder_layers",
        "decoder_layers",
    ),
    "num_heads": (
        "num_attention_heads",
        "num_heads",
        "n_head",
        "n_heads",
        "encoder_attention_heads",
        "decoder_attention_heads",
    ),
    "num_kv_heads": ("num_key_value_heads",),
    "head_size": ("head_dim", "d_kv"),
    "feed_forward": (
        "intermediate_size",
        "d_ff",
        "n_inner",
        "encoder_ffn_dim",
        "decoder_ffn_dim",
        "hidden_dim",
    ),
    "num_positions": ("max_position_embeddings", "n_positions"),
    "num_types": ("type_vocab_size",),
    "image_size": ("image_size",),
    "patch_size": ("patch_size",),
    "num_channels": ("num_channels",),
    "decoder_width": ("decoder_hidden_size",),
    "decoder_layers": ("decoder_num_hidden_layers",),
    "decoder_heads": ("decoder_num_attention_heads",),
    "init_std": ("initializer_range",),
}
_DROPOUT = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout_rate",
    "dropout",
    "attention_dropout",
    "resid_pdrop",
    "embd_pdrop",
    "attn_pdrop",
)


@dataclass(frozen=True)
class Optimisation:
    """How a method is trained; `Stage.of` reads it.

    Attributes:
        lr: peak learning rate.
        warmup: steps of warm-up, or a share of the budget when below 1.
        weight_decay: of the weights.
        batch_size: examples a step.
        micro_batch_size: examples a forward pass; 0 takes the whole batch.
        evaluate_every: steps between evaluations on held-out data; 0 is at the end only.
    """

    lr: float = 5e-4
    warmup: float = 0.0
    weight_decay: float = 0.01
    batch_size: int = 32
    micro_batch_size: int = 0
    evaluate_every: int = 0


@dataclass(frozen=True)
class TransformerSizes:
    """Sizes of a Transformer. A Config may have more of them: those that `_THEIRS` names.

    Attributes:
        width: of a hidden state.
        num_layers: of the network.
        num_heads: of attention.
        feed_forward: inner width of the feed-forward layers.
        dropout_prob: of hidden states and attention.
        num_reserved_positions: rows of the table of positions in front of the first token's.
    """

    width: int = 256
    num_layers: int = 4
    num_heads: int = 4
    feed_forward: int = 1024
    dropout_prob: float = 0.0

    num_reserved_positions: ClassVar[int] = 0

    def network_config(self, kind: type[T], **more: Any) -> T:
        """The sizes in the terms of a config of transformers.

        Args:
            kind: such as `ElectraConfig`; it is given what it has fields for.
            more: further fields of it, which go before the sizes; None leaves one out.
        """
        known = {each.name for each in dataclasses.fields(kind)}  # type: ignore[arg-type]
        names = {ours: theirs for ours, theirs in _THEIRS.items() if getattr(self, ours, 0)}
        names["dropout_prob"] = _DROPOUT
        own = {
            theirs: getattr(self, ours)
            for ours, all_of_theirs in names.items()
            for theirs in all_of_theirs
            if theirs in known
        }
        return kind(**{name: value for name, value in (own | more).items() if value is not None})

    def sized_as(self, network: Any) -> Self:
        """The same settings with the sizes of a network that was loaded, which may read less.

        Args:
            network: its config.
        """
        found = {}
        for ours, all_of_theirs in _THEIRS.items():
            values = [getattr(network, theirs, None) for theirs in all_of_theirs]
            value = next((value for value in values if value is not None), None)
            if hasattr(self, ours) and value is not None:
                found[ours] = value
        longest = found.get("num_positions", getattr(network, "max_position_embeddings", None))
        if longest is not None and hasattr(self, "max_length"):
            found["max_length"] = min(self.max_length, longest - self.num_reserved_positions)
        return dataclasses.replace(self, **found)


def presets_of(kind: type) -> list[str]:
    """The presets that a Config has, from the smallest on."""
    return [name for name in PRESETS if name == "base" or hasattr(kind, name)]


def preset_of(kind: Any, name: str) -> Any:
    """The settings that one of these presets of a Config stands for."""
    return kind() if name == "base" else getattr(kind, name)()


class NotPublishedError(UserError):
    """There is no published configuration of that name.

    Attributes:
        names: of those that there are.
    """

    def __init__(self, name: str, names: tuple[str, ...]) -> None:
        super().__init__(f"published sizes are {', '.join(names)}, not {name!r}")
        self.names = names


def published_size(name: str, sizes: Mapping[str, T]) -> T:
    """The published configuration of that name, for `Config.paper`.

    Raises:
        NotPublishedError: there is none; it names those that there are.
    """
    if name not in sizes:
        raise NotPublishedError(name, tuple(sizes))
    return sizes[name]
