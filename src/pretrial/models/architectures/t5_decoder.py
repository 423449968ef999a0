"""A decoder of T5's blocks: relative positions, no cross-attention, tied embeddings.

transformers has T5 as an encoder-decoder only. Its decoder stack without the cross-attention is the
decoder that T5X trains: positions are distances, every token ahead counts as distance 0, and states
are scaled before they meet the embeddings. Weights keep the names that they have in T5's decoder.
Importing this module registers it, and the Auto classes then load what `save_pretrained` wrote. It
is a causal or prefix decoder beside that of Llama's layout (`layouts`).
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, T5Config
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.t5.modeling_t5 import T5PreTrainedModel, T5Stack

from pretrial.models.architectures.layouts import Architecture, set_architecture


class T5DecoderConfig(T5Config):
    """T5's settings, of a decoder alone."""

    model_type = "t5_decoder"


class _ScaledHead(nn.Linear):
    """The embeddings as an output layer: states are divided by the root of their width."""

    def forward(self, states: Tensor) -> Tensor:
        """Logits [..., V] of states [..., d]."""
        return F.linear(states * self.in_features**-0.5, self.weight)


class T5Decoder(T5PreTrainedModel, GenerationMixin):
    """See the module's text. Its forward pass takes what that of `LlamaForCausalLM` does.

    Args:
        config: the settings.
    """

    config_class = T5DecoderConfig
    base_model_prefix = "model"
    _tied_weights_keys = {
        "lm_head.weight": "model.embed_tokens.weight",
    }

    def __init__(self, config: T5DecoderConfig) -> None:
        super().__init__(config)
        self.model = T5Stack(config)
        for block in self.model.block:
            del block.layer[1]  # the cross-attention
        self.lm_head = _ScaledHead(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        position_ids: Tensor | None = None,
        **options: Any,
    ) -> CausalLMOutputWithPast:
        """Logits of tokens [B, T]; distances need no `position_ids`."""
        output = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
        )
        states = output.last_hidden_state[:, -logits_to_keep:]
        return CausalLMOutputWithPast(
            logits=self.lm_head(states), past_key_values=output.past_key_values
        )


AutoConfig.register("t5_decoder", T5DecoderConfig)
AutoModelForCausalLM.register(T5DecoderConfig, T5Decoder)


def new_t5_decoder(
    vocab_size: int,
    architecture: Architecture,
    *,
    width: int,
    num_layers: int,
    num_heads: int,
    feed_forward: int,
    head_size: int = 0,
    dropout_prob: float = 0.0,
    activation: str = "gated-gelu",
    pad_id: int = 0,
    eos_id: int = 1,
) -> T5Decoder:
    """An untrained one; `head_size` 0 divides `width`, and texts begin with the padding token."""
    further: dict[str, Any] = {"bos_token_id": pad_id}  # no field of T5Config, yet its own
    network = T5Decoder(
        T5DecoderConfig(
            vocab_size=vocab_size,
            d_model=width,
            d_kv=head_size or width // num_heads,
            d_ff=feed_forward,
            num_layers=num_layers,
            num_heads=num_heads,
            dropout_rate=dropout_prob,
            feed_forward_proj=activation,
            is_decoder=True,
            is_encoder_decoder=False,
            pad_token_id=pad_id,
            eos_token_id=eos_id,
            **further,
        )
    )
    set_architecture(network, architecture)
    return network
