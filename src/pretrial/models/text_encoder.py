"""What tasks ask of an encoder of texts: vectors, and a classifier that starts from it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pretrial.errors import UserError
from pretrial.models.text_classifier import TextClassifier


@torch.no_grad()
def encode(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    max_length: int,
    batch_size: int = 64,
) -> Tensor:
    """One vector a text: the mean of the last hidden states over its tokens [N, d], on the CPU.

    Args:
        encoder: gives `last_hidden_state`; its mode is the same afterwards.
        tokenizer: its tokenizer, with a padding token.
        texts: N texts.
        max_length: longer texts are cut.
        batch_size: texts at once; they are grouped by length.
    """
    if not texts:
        raise UserError("there are no texts to encode: give at least one")
    device = next(encoder.parameters()).device
    training = encoder.training
    encoder.eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors: list[Tensor] = [torch.empty(0)] * len(texts)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        inputs = tokenizer(
            [texts[i] for i in rows],
            truncation=True,
            max_length=max_length,
            padding=True,
            return_tensors="pt",
        ).to(device)
        mask = inputs["attention_mask"]
        states = encoder(input_ids=inputs["input_ids"], attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)  # [B, T, 1]
        means = (states * weights).sum(1) / weights.sum(1)
        for row, vector in zip(rows, means.float().cpu(), strict=True):
            vectors[row] = vector
    encoder.train(training)
    return torch.stack(vectors)


def classifier_from(
    encoder: PreTrainedModel,
    kind: type[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    num_labels: int,
    max_length: int,
) -> TextClassifier:
    """A classifier with a fresh head on a copy of the encoder's weights.

    Args:
        encoder: the base model, such as `model.base_model`.
        kind: the class of the classifier, such as `ElectraForSequenceClassification`.
        tokenizer: of the encoder.
        num_labels: classes.
        max_length: longer texts are cut.
    """
    config = copy.deepcopy(encoder.config)
    config.num_labels = num_labels
    model = kind(config)
    model.base_model.load_state_dict(encoder.state_dict())
    return TextClassifier(model, tokenizer, max_length).to(encoder.device)
