"""What tasks ask of an encoder of texts: vectors, and a classifier that starts from it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from pretrial.corrupt.masks import chosen_of
from pretrial.errors import UserError
from pretrial.models.layers.attention_masks import key_mask
from pretrial.train.in_batches import by_length
from pretrial.train.stage import Batch

Pooling = Literal["first", "mean"]


def hidden_states(encoder: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Last hidden states [B, T, d].

    Args:
        encoder: the base model, such as `model.base_model`.
        input_ids: [B, T].
        attention_mask: True where there is a token, False at padding, which nothing reads [B, T].
    """
    mask = key_mask(attention_mask, encoder.dtype)
    return encoder(input_ids, attention_mask=mask).last_hidden_state


def logits_at(network: Any, batch: Batch) -> Tensor:
    """What a masked language model predicts at the chosen positions of a batch [N, V].

    Its head is given the states of these positions alone, as one sequence, whatever its class
    calls the head: a vocabulary times all positions would not fit where the batch does.

    Args:
        network: such as `RobertaForMaskedLM`, whose head treats each position by itself.
        batch: with `input_ids` and `attention_mask` [B, T], and what `chosen_of` reads.
    """

    def keep(module: nn.Module, inputs: Any, output: Any) -> Any:
        output.last_hidden_state = chosen_of(output.last_hidden_state, batch)[None]  # [1, N, d]
        return output

    hook = network.base_model.register_forward_hook(keep)
    try:
        mask = batch["attention_mask"].long()
        return network(input_ids=batch["input_ids"], attention_mask=mask).logits[0]
    finally:
        hook.remove()


@torch.no_grad()
def encode(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    max_length: int,
    batch_size: int = 64,
    pooling: Pooling = "mean",
) -> Tensor:
    """One vector a text [N, d], on the CPU.

    Args:
        encoder: gives `last_hidden_state`; its mode is the same afterwards.
        tokenizer: its tokenizer, with a padding token.
        texts: N texts.
        max_length: longer texts are cut.
        batch_size: texts at once; they are grouped by length.
        pooling: the mean of the last hidden states over the text's tokens, or the state of the
            first one.
    """
    vectors: list[Tensor] = [torch.empty(0)] * len(texts)
    for rows, inputs, states in _states(encoder, tokenizer, texts, max_length, batch_size):
        mean = pooling == "mean"
        found = mean_of(states, inputs["attention_mask"]) if mean else states[:, 0]
        for row, vector in zip(rows, found.float().cpu(), strict=True):
            vectors[row] = vector
    return torch.stack(vectors)


@torch.no_grad()
def token_vectors(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    max_length: int,
    batch_size: int = 64,
) -> list[tuple[Tensor, list[tuple[int, int]]]]:
    """For each text the last hidden states of its tokens [T, d] and their places (start, end).

    Special tokens are left out, and so is what lies beyond `max_length`. The tokenizer must be a
    fast one, which knows places; the other arguments are as in `encode`.
    """
    found: list[Any] = [None] * len(texts)
    for rows, inputs, states in _states(encoder, tokenizer, texts, max_length, batch_size):
        spans = inputs["offset_mapping"]  # [B, T, 2]; special tokens and padding are empty
        for row, span, state in zip(rows, spans, states.float().cpu(), strict=True):
            is_token = span[:, 1] > span[:, 0]
            found[row] = (state[is_token], [(start, end) for start, end in span[is_token].tolist()])
    return found


def _states(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    max_length: int,
    batch_size: int,
) -> Iterator[tuple[list[int], Any, Tensor]]:
    """Places of some texts, the tokenizer's output for them, and the last states [B, T, d]."""
    if not texts:
        raise UserError("there are no texts to encode: give at least one")
    training = encoder.training
    encoder.eval()
    for rows in by_length(texts, batch_size):
        inputs = tokenizer(
            [texts[i] for i in rows],
            truncation=True,
            max_length=max_length,
            padding=True,
            return_tensors="pt",
            return_offsets_mapping=tokenizer.is_fast,
            split_special_tokens=True,  # one that is written in a text is text like any other
        ).to(next(encoder.parameters()).device)
        mask = inputs["attention_mask"]
        output = encoder(input_ids=inputs["input_ids"], attention_mask=mask)
        yield rows, inputs, output.last_hidden_state
    encoder.train(training)


class MeanPooledClassifier(nn.Module):
    """A linear layer on the mean of the last hidden states, with a copy of the encoder's weights.

    After little pre-training the first token has learned to gather nothing from the others, and a
    classifier that reads it alone learns from few labels that one class is the most frequent.

    Args:
        encoder: the base model.
        num_labels: classes.
    """

    def __init__(self, encoder: PreTrainedModel, num_labels: int) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler.requires_grad_(False)  # it reads the first token, and is not used
        self.dropout = nn.Dropout(encoder.config.hidden_dropout_prob)
        self.head = nn.Linear(encoder.config.hidden_size, num_labels)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head.weight.device

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SequenceClassifierOutput:
        """Logits [B, num_labels] of token ids [B, T] and a mask that is 1 at tokens [B, T]."""
        states = self.encoder(input_ids, attention_mask=attention_mask).last_hidden_state
        mean = mean_of(self.dropout(states), attention_mask)
        return SequenceClassifierOutput(logits=self.head(mean))


def mean_of(states: Tensor, mask: Tensor) -> Tensor:
    """Means [B, d] of states [B, T, d] where the mask [B, T] is 1."""
    weights = mask.unsqueeze(-1).to(states.dtype)  # [B, T, 1]
    return (states * weights).sum(1) / weights.sum(1)


def unit_vectors(states: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Vectors of length 1 [B, d], for contrasts, of states [B, T, d] with a mask [B, T]."""
    if pooling == "first":
        return F.normalize(states[:, 0], dim=-1)
    weights = mask[..., None].to(states.dtype)  # [B, T, 1]
    return F.normalize((states * weights).sum(1), dim=-1)


def classifier_from(
    encoder: PreTrainedModel, num_labels: int, pooling: Pooling = "first", **changes: Any
) -> Any:
    """A classifier of transformers with a new head on a copy of the encoder's weights.

    Args:
        encoder: the base model, such as `model.base_model`.
        num_labels: classes.
        pooling: what the head reads: the first token, or the mean of all.
        changes: of the config, with "first", such as of dropout; what it does not have is left out.
    """
    if pooling == "mean":
        return MeanPooledClassifier(encoder, num_labels).to(encoder.device)
    config = copy.deepcopy(encoder.config)
    config.num_labels = num_labels
    config.update({name: value for name, value in changes.items() if hasattr(config, name)})
    with encoder.device:
        model: Any = AutoModelForSequenceClassification.from_config(config)
    own, given = model.base_model.state_dict(), encoder.state_dict()  # either may lack a pooler
    model.base_model.load_state_dict(own | {n: given[n] for n in own.keys() & given.keys()})
    return model
