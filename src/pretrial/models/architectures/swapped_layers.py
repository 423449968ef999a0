"""Networks of transformers with other feed-forward layers than their own.

transformers can exchange an activation function for another without parameters, and no more. A
model on `SwappedFeedForward` is built with small layers that stand in, which its own then replace;
and `take_over` gives it what it shares with a plain checkpoint, to go on from. It serves whatever
changes the layers between attentions: activations, experts, adapters, codebooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel as _Model
else:
    _Model = object


class SwappedFeedForward(_Model):
    """Goes before a causal language model of transformers, such as `LlamaForCausalLM`.

    Args:
        config: of the model; its activation may be unknown to transformers.
    """

    def __init__(self, config: Any) -> None:
        plain = type(config).from_dict(config.to_dict())
        plain._attn_implementation = config._attn_implementation
        plain.hidden_act, plain.intermediate_size = "silu", 1  # made only to be replaced
        super().__init__(plain)
        config._attn_implementation = plain._attn_implementation  # what was chosen
        for part in self.modules():
            if getattr(part, "config", None) is plain:
                part.config = config
        for layer in self.model.layers:
            self.swap(layer, config)
        self.post_init()

    @staticmethod
    def swap(layer: Any, config: Any) -> None:
        """Puts the new feed-forward layer into a layer of the network."""
        raise NotImplementedError


def take_over(
    made: nn.Module, given: nn.Module, replaced: Sequence[str], new: Sequence[str]
) -> None:
    """Loads all weights of a plain network but those of replaced layers.

    Args:
        made: takes the weights.
        given: the plain network.
        replaced: parts of the names of weights that are not taken.
        new: parts of the names of weights that `made` alone has.
    """
    kept = {
        name: value
        for name, value in given.state_dict().items()
        if not any(part in name for part in replaced)
    }
    missing = made.load_state_dict(kept, strict=False).missing_keys
    assert all(any(part in name for part in (*replaced, *new)) for name in missing), missing
