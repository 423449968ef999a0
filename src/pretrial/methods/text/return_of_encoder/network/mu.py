"""Mu, a small encoder-decoder with a deep encoder and a shallow decoder, as models of transformers.

The encoder runs once a request; the keys and values of cross-attention are made once and cached;
only the output's own cache grows. `MuForCausalLM` is the decoder without the rest: the same layers
as a decoder-only model, to compare with. transformers lacks the architecture: importing this module
registers it, and the Auto classes then load what `save_pretrained` wrote.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    CLIPVisionConfig,
    CLIPVisionModel,
    GenerationMixin,
    PreTrainedModel,
)
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import (
    BaseModelOutput,
    CausalLMOutputWithPast,
    Seq2SeqLMOutput,
)

from pretrial.methods.text.return_of_encoder.network.layers import Layer, MuConfig, rotations
from pretrial.models.layers.attention_masks import additive_mask
from pretrial.models.layers.vision import patches, projector

__all__ = ["MuConfig", "MuForCausalLM", "MuForConditionalGeneration"]


class MuPreTrainedModel(PreTrainedModel):
    """What the models share."""

    config: MuConfig
    config_class = MuConfig
    base_model_prefix = "model"
    _supports_sdpa = True
    _input_embed_layer = "embeddings"  # of encoder, decoder and output


class Stack(nn.Module):
    """Layers and the norm behind them.

    Args:
        config: sizes.
        num_layers: how many.
        cross: with cross-attention.
    """

    def __init__(self, config: MuConfig, num_layers: int, cross: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config, place, cross) for place in range(num_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)

    def forward(self, states: Tensor, *args: Any) -> Tensor:
        """Normalised states after the last layer; the arguments are those of `Layer`."""
        for layer in self.layers:
            states = layer(states, *args)
        return self.norm(states)


class MuEncoder(MuPreTrainedModel):
    """The encoder: sees all of its input.

    Args:
        config: its settings.
        embeddings: shared with the decoder.
    """

    def __init__(self, config: MuConfig, embeddings: nn.Embedding) -> None:
        super().__init__(config)
        self.embeddings = embeddings
        self.stack = Stack(config, config.encoder_layers)
        self.vision: Any = None
        if config.vision_config is not None:
            self.attach(CLIPVisionModel(CLIPVisionConfig(**config.vision_config)))

    def attach(self, vision: CLIPVisionModel) -> None:
        """Takes a vision model, and a new projector of its patches."""
        self.config.vision_config = vision.config.to_dict()
        self.vision = vision
        self.projector = projector(vision.config.hidden_size, self.config.hidden_size)

    def embed(self, input_ids: Tensor, pixel_values: Tensor | None) -> Tensor:
        """Embeddings [B, S, d]; the patches of all tiles [N, 3, h, w] stand at the image tokens."""
        vectors = self.embeddings(input_ids)
        if pixel_values is None:
            return vectors
        seen = self.projector(patches(self.vision, pixel_values, self.config.vision_layer))
        assert self.config.image_token_id is not None, "the config names no image token"
        places = input_ids.eq(self.config.image_token_id)[..., None].expand_as(vectors)
        return vectors.masked_scatter(places, seen.to(vectors.dtype))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        pixel_values: Tensor | None = None,
        **_: Any,
    ) -> BaseModelOutput:
        """Last hidden states [B, S, d].

        Args:
            input_ids: [B, S].
            attention_mask: 1 where there is a token [B, S]; None: everywhere.
            inputs_embeds: instead of ids [B, S, d].
            pixel_values: tiles of the images of all rows, in the order of their tokens.
        """
        if inputs_embeds is None:
            assert input_ids is not None, "give input_ids or inputs_embeds"
            inputs_embeds = self.embed(input_ids, pixel_values)
        length = inputs_embeds.shape[1]
        places = torch.arange(length, device=inputs_embeds.device)
        turn = rotations(self.config, places, length)
        return BaseModelOutput(self.stack(inputs_embeds, _padding(attention_mask), turn))


class MuForConditionalGeneration(MuPreTrainedModel, GenerationMixin):
    """Encoder, decoder and an output layer whose matrix is that of the embeddings."""

    main_input_name = "input_ids"
    _tied_weights_keys = {
        "lm_head.weight": "embeddings.weight",
        "encoder.embeddings.weight": "embeddings.weight",
    }

    def __init__(self, config: MuConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.encoder = MuEncoder(config, self.embeddings)
        self.decoder = Stack(config, config.decoder_layers, cross=True)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=config.head_bias)
        self.post_init()

    def set_input_embeddings(self, value: Any) -> None:
        """Sets the embeddings, the encoder's too."""
        self.embeddings = self.encoder.embeddings = value

    def get_encoder(self, *_: Any, **__: Any) -> nn.Module:
        """The encoder."""
        return self.encoder

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: EncoderDecoderCache | None = None,
        inputs_embeds: Tensor | None = None,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> Seq2SeqLMOutput:
        """Logits [B, T, V].

        Args:
            input_ids: of the encoder [B, S].
            attention_mask: 1 at the encoder's tokens [B, S].
            decoder_input_ids: [B, T]; with a cache, the new ones.
            decoder_attention_mask: 1 at the decoder's tokens, those of the cache too [B, K].
            encoder_outputs: what the encoder gave, the states [B, S, d] first; it is not run then.
            past_key_values: what an earlier pass gave.
            inputs_embeds: of the encoder [B, S, d], instead of ids.
            pixel_values: see `MuEncoder.forward`.
            labels: tokens to predict [B, T], -100 where none is; they are the decoder's input too,
                shifted, where none is given.
            use_cache: give a cache.
        """
        if encoder_outputs is None:
            encoder_outputs = self.encoder(input_ids, attention_mask, inputs_embeds, pixel_values)
        memory = encoder_outputs[0]
        if decoder_input_ids is None:
            assert labels is not None, "give decoder_input_ids or labels"
            decoder_input_ids = self._shift_right(labels)
        if use_cache and past_key_values is None:
            past_key_values = EncoderDecoderCache(DynamicCache(), DynamicCache())
        mask, places = _causal(decoder_input_ids, past_key_values, decoder_attention_mask)
        states = self.decoder(
            self.embeddings(decoder_input_ids),
            mask,
            rotations(self.config, places),
            past_key_values,
            memory,
            _padding(attention_mask),
        )
        logits = self.lm_head(states)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        return Seq2SeqLMOutput(
            loss=loss,
            logits=logits,
            past_key_values=past_key_values,
            encoder_last_hidden_state=memory,
        )

    def _shift_right(self, labels: Tensor) -> Tensor:
        """The decoder's input for labels [B, T]: the start token, then all but the last."""
        assert self.config.decoder_start_token_id is not None, "the config names no start token"
        first = torch.full_like(labels[:, :1], self.config.decoder_start_token_id)
        return torch.cat([first, labels[:, :-1].masked_fill(labels[:, :-1] < 0, 0)], dim=1)

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """What transformers' collators call `_shift_right`."""
        return self._shift_right(labels)


class MuForCausalLM(MuPreTrainedModel, GenerationMixin):
    """The same layers without an encoder: a decoder-only model."""

    _tied_weights_keys = {"lm_head.weight": "embeddings.weight"}

    def __init__(self, config: MuConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.decoder = Stack(config, config.decoder_layers)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=config.head_bias)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Logits [B, T, V].

        Args:
            input_ids: [B, T]; with a cache, the new ones.
            attention_mask: 1 at tokens, those of the cache too [B, K].
            position_ids: of `input_ids` [B, T].
            past_key_values: what an earlier pass gave.
            inputs_embeds: instead of ids [B, T, d].
            labels: the tokens of `input_ids` that are to be predicted, -100 at the others [B, T].
            use_cache: give a cache.
            logits_to_keep: of the last positions alone; 0 for all.
        """
        if inputs_embeds is None:
            inputs_embeds = self.embeddings(input_ids)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        mask, places = _causal(inputs_embeds[..., 0], past_key_values, attention_mask)
        turn = rotations(self.config, places if position_ids is None else position_ids)
        states = self.decoder(inputs_embeds, mask, turn, past_key_values)
        logits = self.lm_head(states[:, -logits_to_keep:])
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values)


def _padding(attention_mask: Tensor | None) -> Tensor | None:
    """What hides padding from every query, to add to scores [B, 1, 1, S]."""
    if attention_mask is None:
        return None
    hidden = torch.zeros(attention_mask.shape, device=attention_mask.device)
    hidden = hidden.masked_fill(attention_mask == 0, torch.finfo(torch.bfloat16).min)
    return hidden[:, None, None]


def _causal(
    inputs: Tensor, cache: Any, attention_mask: Tensor | None
) -> tuple[Tensor | None, Tensor]:
    """The mask of new positions [B, T] behind those of a cache, and the positions [T]."""
    past = cache.get_seq_length() if cache is not None else 0
    length = inputs.shape[1]
    places = torch.arange(past, past + length, device=inputs.device)
    if attention_mask is None:
        if length == 1:
            return None, places
        attention_mask = torch.ones(1, past + length, device=inputs.device)
    return additive_mask("causal", attention_mask.bool(), num_queries=length), places


AutoConfig.register("mu", MuConfig)
AutoModelForSeq2SeqLM.register(MuConfig, MuForConditionalGeneration)
AutoModelForCausalLM.register(MuConfig, MuForCausalLM)
