"""MosaicBERT as a model of transformers, with the weights' names of the public checkpoints.

transformers lacks the architecture, and what is published with the checkpoints is code to be run
from the Hub, pinned to an old torch. Here it stands beside transformers: importing this module
registers it, and the Auto classes then load what `save_pretrained` wrote.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    SequenceClassifierOutput,
)

from pretrial.methods.text.mosaicbert.network.alibi import alibi_bias
from pretrial.methods.text.mosaicbert.network.layers import (
    Embeddings,
    Encoder,
    Head,
    MosaicBertConfig,
    Pooler,
)
from pretrial.methods.text.mosaicbert.network.unpad import Packing, not_packing, packing, pad


class MosaicBertPreTrainedModel(PreTrainedModel):
    """What the models share."""

    config_class = MosaicBertConfig
    base_model_prefix = "bert"


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
        self.pooler = Pooler(config) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The embeddings of the words."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: Any) -> None:
        """Sets the embeddings of the words."""
        self.embeddings.word_embeddings = value

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

    def get_output_embeddings(self) -> nn.Module:
        """The last layer of the head."""
        return self.cls.predictions.decoder

    def set_output_embeddings(self, value: Any) -> None:
        """Sets the last layer of the head."""
        self.cls.predictions.decoder = value

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
