"""MosaicBERT as a model of transformers, with the weights' names of the public checkpoints.

transformers lacks the architecture, and what is published with the checkpoints is code to be run
from the Hub, pinned to an old torch. Here it stands beside transformers: importing this module
registers it, and the Auto classes then load what `save_pretrained` wrote. Its layers work on tokens
without padding (`models.layers.packing`); those that BERT has as well are BERT's.
"""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    SequenceClassifierOutput,
)
from transformers.models.bert.modeling_bert import (
    BertPooler,
    BertPredictionHeadTransform,
    BertSelfOutput,
)

from pretrial.models.layers.alibi import alibi_bias
from pretrial.models.layers.norms import lower_norms
from pretrial.models.layers.packing import Packing, not_packing, packed_attention, packing, pad


@strict
class MosaicBertConfig(BertConfig):
    """BERT's settings, and what is different here.

    Attributes:
        attention_probs_dropout_prob: 0, since fast attention kernels have no dropout.
        alibi_starting_size: of the public checkpoints; read and ignored, as biases fit any length.
        alibi: distances as biases; False learns an embedding for each position, as BERT does.
        gated: the feed-forward layers are gated; False has those of BERT.
        unpadded: padding is left out of all work.
        low_precision_norm: under autocast, norms stay in its type instead of going up to fp32.
    """

    model_type = "mosaicbert"

    attention_probs_dropout_prob: float | int = 0.0
    alibi_starting_size: int = 512
    alibi: bool = True
    gated: bool = True
    unpadded: bool = True
    low_precision_norm: bool = True


class Embeddings(nn.Module):
    """Words and types; positions only without ALiBi."""

    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(
            config.vocab_size, width, padding_idx=config.pad_token_id
        )
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.position_embeddings = None
        if not config.alibi:
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids: Tensor, types: Tensor, layout: Packing) -> Tensor:
        states = self.word_embeddings(ids) + self.token_type_embeddings(types)
        if self.position_embeddings is not None:
            places = torch.as_tensor(layout.places, device=ids.device)
            states = states + self.position_embeddings(places)
        return self.dropout(self.LayerNorm(states))


class _SelfAttention(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.dropout_prob = config.attention_probs_dropout_prob
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)

    def forward(
        self, states: Tensor, layout: Packing, bias: Tensor | None, hidden: Tensor | None
    ) -> Tensor:
        qkv = self.Wqkv(states).view(len(states), 3, self.num_heads, -1)
        dropout_prob = self.dropout_prob if self.training else 0.0
        bias, hidden = (None if mask is None else mask.to(qkv.dtype) for mask in (bias, hidden))
        return packed_attention(qkv, layout, bias, hidden, dropout_prob)


class _Attention(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.self = _SelfAttention(config)
        self.output = BertSelfOutput(config)


class _FeedForward(nn.Module):
    """Gated: GELU(first half) times second half; else BERT's, with a bias."""

    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.gated = config.gated
        if self.gated:
            self.gated_layers = nn.Linear(width, 2 * inner, bias=False)
        else:
            self.wi = nn.Linear(width, inner)
        self.wo = nn.Linear(inner, width)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, states: Tensor) -> Tensor:
        if self.gated:
            gate, value = self.gated_layers(states).chunk(2, -1)
            mixed = self.wo(self.dropout(F.gelu(gate) * value))
        else:
            mixed = self.dropout(self.wo(F.gelu(self.wi(states))))
        return self.layernorm(mixed + states)


class _Layer(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.mlp = _FeedForward(config)

    def forward(
        self,
        states: Tensor,
        layout: Packing,
        bias: Tensor | None,
        hidden: Tensor | None,
        keep: NDArray[Any] | None,
    ) -> Tensor:
        mixed = self.attention.self(states, layout, bias, hidden)
        if keep is not None:
            mixed, states = mixed[keep], states[keep]
        return self.mlp(self.attention.output(mixed, states))


class Encoder(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))


class _Predictions(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, states: Tensor) -> Tensor:
        return self.decoder(self.transform(states))


class Head(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.predictions = _Predictions(config)

    def forward(self, states: Tensor) -> Tensor:
        return self.predictions(states)


class MosaicBertPreTrainedModel(PreTrainedModel):
    """What the models share."""

    config_class = MosaicBertConfig
    base_model_prefix = "bert"
    _input_embed_layer = "word_embeddings"

    def post_init(self) -> None:
        """Initialises the weights; norms are of the type that the config asks for."""
        super().post_init()
        if self.config.low_precision_norm:
            lower_norms(self)


class MosaicBertModel(MosaicBertPreTrainedModel):
    """The encoder.

    Args:
        config: its settings.
        add_pooling_layer: with the layer over the first token that classifiers read.
    """

    def __init__(self, config: MosaicBertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.post_init()

    def packed(
        self,
        ids: Tensor,
        layout: Packing,
        *,
        types: Tensor | None = None,
        attention_mask: Tensor | None = None,
        keep: NDArray[Any] | None = None,
    ) -> Tensor:
        """Last hidden states of packed tokens [N, d].

        Args:
            ids: token ids [N].
            layout: where the texts are.
            types: token types [N]; None is 0 for all.
            attention_mask: True where there is a token [B, T]; needed where the layout keeps the
                padding.
            keep: the packed tokens whose last state is wanted [K]; the last layer does nothing for
                the others but let them be attended to. None wants all.

        Returns:
            [N, d], or [K, d]
        """
        if types is None:
            types = torch.zeros_like(ids)
        states = self.embeddings(ids, types, layout)
        bias = hidden = None
        if self.config.alibi:
            longest = max(length for _, length in layout.groups)
            bias = alibi_bias(self.config.num_attention_heads, longest, states)
        if attention_mask is not None:
            hidden = torch.zeros(attention_mask.shape, dtype=states.dtype, device=states.device)
            hidden = hidden.masked_fill(~attention_mask, torch.finfo(states.dtype).min / 2)
        last = len(self.encoder.layer) - 1
        for number, layer in enumerate(self.encoder.layer):
            states = layer(states, layout, bias, hidden, keep if number == last else None)
        return states

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **_: Any,
    ) -> BaseModelOutputWithPooling:
        """Last hidden states [B, T, d] of a padded batch; 0 at padding if it is left out of work.

        Args:
            input_ids: [B, T].
            attention_mask: 1 where there is a token [B, T]; None: everywhere.
            token_type_ids: [B, T].
        """
        mask = None if attention_mask is None else attention_mask.bool()
        shape = (input_ids.shape[0], input_ids.shape[1])
        layout = not_packing(shape)
        if mask is not None and self.config.unpadded:
            layout, mask = packing(mask.cpu().numpy()), None
        rows = layout.rows
        types = None if token_type_ids is None else token_type_ids.flatten()[rows]
        packed = self.packed(input_ids.flatten()[rows], layout, types=types, attention_mask=mask)
        states = pad(packed, layout)
        pooled = None if self.pooler is None else self.pooler(states)
        return BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=pooled)


class MosaicBertForMaskedLM(MosaicBertPreTrainedModel):
    """The encoder with a head that names tokens; its matrix is that of the word embeddings."""

    _tied_weights_keys = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"
    }

    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__(config)
        self.bert = MosaicBertModel(config, add_pooling_layer=False)
        self.cls = Head(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **_: Any,
    ) -> MaskedLMOutput:
        """Logits [B, T, V], and the mean loss over the labels that are not -100 [B, T]."""
        states = self.bert(input_ids, attention_mask, token_type_ids).last_hidden_state
        logits = self.cls(states)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
        return MaskedLMOutput(loss=loss, logits=logits)


class MosaicBertForSequenceClassification(MosaicBertPreTrainedModel):
    """The encoder with its pooler and a linear layer."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bert = MosaicBertModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Logits [B, num_labels], and the mean loss over labels [B]."""
        pooled = self.bert(input_ids, attention_mask, token_type_ids).pooler_output
        logits = self.classifier(self.dropout(pooled))
        loss = None if labels is None else F.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


AutoConfig.register("mosaicbert", MosaicBertConfig)
AutoModel.register(MosaicBertConfig, MosaicBertModel)
AutoModelForMaskedLM.register(MosaicBertConfig, MosaicBertForMaskedLM)
AutoModelForSequenceClassification.register(MosaicBertConfig, MosaicBertForSequenceClassification)
