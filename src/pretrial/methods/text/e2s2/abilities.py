"""What an E2S2 is for: texts, vectors, a diagnosis of its two sides, what tasks start from."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pretrial.data.rows import mapped
from pretrial.errors import UserError
from pretrial.evaluate.sides import diagnose_sides
from pretrial.methods.text.e2s2 import building
from pretrial.methods.text.e2s2.views import Views
from pretrial.models.architectures.language_model import TextToText
from pretrial.models.architectures.seq2seq import generate_texts, pad_rows
from pretrial.models.architectures.text_classifier import TextClassifier
from pretrial.models.architectures.text_encoder import Pooling


class Example(NamedTuple):
    """A text, and what is to be written for it where that is known."""

    text: str
    target: str = ""


def text_of(example: Example | str) -> str:
    """The text of an example, which may be the text itself."""
    return example if isinstance(example, str) else example.text


def texts_of(examples: Sequence[Example | str]) -> Sequence[str]:
    """The texts of examples; where those are on the disk, their texts are too."""
    return mapped(examples, lambda _, example: text_of(example))


class Abilities:
    """The abilities, each of which takes examples or texts.

    Attributes:
        config: the settings.
        model: the network.
        tokenizer: its tokenizer.
    """

    config: Any
    model: Any
    tokenizer: Any

    @cached_property
    def views(self) -> Views:
        """What makes batches."""
        return Views(self.tokenizer, self.config)

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """Sentence vectors [B, d] of states [B, T, d] whose mask is 1 at tokens [B, T]."""
        if self.config.pooling == "prompt":  # its mask stands before the end token
            return states[torch.arange(len(states), device=states.device), mask.sum(1) - 2]
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)

    def generate(
        self,
        examples: Sequence[Example | str],
        *,
        max_new_tokens: int = 0,
        num_beams: int = 1,
        num_samples: int = 1,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """The text that the model writes for each source, whose gaps are its mask tokens.

        Args:
            max_new_tokens: longest text, in tokens; 0 takes the model's own limit.
            num_beams: above 1, beam search.
            num_samples: texts for each source, with a temperature or beams.
            temperature: of sampling; 0 takes the most probable token each time.
            top_p: mass of the nucleus, when sampling.
            seed: of sampling.
        """
        groups = generate_texts(
            self.model,
            self.tokenizer,
            [text_of(each) for each in examples],
            max_source=self.config.max_length,
            max_new_tokens=max_new_tokens or self.config.max_length - 1,
            num_samples=num_samples,
            temperature=temperature,
            top_p=top_p,
            num_beams=num_beams,
            seed=seed,
        )
        for group in groups:
            yield {"text": group[0].strip(), **({"texts": group} if num_samples > 1 else {})}

    def generate_texts(
        self, sources: Sequence[str], *, max_new_tokens: int = 0, num_beams: int = 1
    ) -> list[str]:
        """What the model writes for each text; the ability of the task "generation"."""
        rows = self.generate(sources, max_new_tokens=max_new_tokens, num_beams=num_beams)
        return [row["text"] for row in rows]

    @torch.no_grad()
    def encode(self, examples: Sequence[Example | str], batch_size: int = 64) -> Tensor:
        """One vector a text [N, d] by the encoder, pooled as in training."""
        if not examples:
            raise UserError("there are no texts to encode: give at least one")
        vectors: list[Tensor] = [torch.empty(0)] * len(examples)
        sources = self.views.sources([text_of(each) for each in examples])
        for rows, states, mask in self.states(sources, batch_size):
            for row, vector in zip(rows, self.pool(states, mask).float().cpu(), strict=True):
                vectors[row] = vector
        return torch.stack(vectors)

    def states(
        self, sources: Sequence[list[int]], batch_size: int = 64
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """For some sources, alike in length: places, the encoder's states [B, T, d], mask [B, T].

        Args:
            sources: token ids with what stands around a text.
            batch_size: sources at once.
        """
        encoder, training = self.model.get_encoder(), self.model.training
        order = sorted(range(len(sources)), key=lambda place: len(sources[place]))
        self.model.eval()
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            chosen = [sources[row] for row in rows]
            ids = pad_rows(chosen, int(self.tokenizer.pad_token_id)).to(self.model.device)
            mask = pad_rows([[1] * len(row) for row in chosen], 0).to(self.model.device)
            yield rows, encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask
        self.model.train(training)

    def diagnose(
        self,
        examples: Sequence[Example],
        *,
        epochs: int = 3,
        lr: float = 1e-4,
        batch_size: int = 16,
        test_ratio: float = 0.25,
        max_new_tokens: int = 16,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """What each side is worth: fine-tuning with one fresh or frozen, and its active units.

        Args:
            epochs: of fine-tuning, once for each setting.
            lr: peak learning rate of fine-tuning.
            batch_size: examples a step.
            test_ratio: share of the examples, the last ones, to measure on.
            max_new_tokens: longest text that is written in measuring.
            seed: of the fresh weights and of fine-tuning.
        """
        pairs = [(example.text, example.target) for example in examples]
        yield from diagnose_sides(
            lambda: self.writer(max_new_tokens),
            pairs,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            test_ratio=test_ratio,
            seed=seed,
        )

    # What tasks start from

    def classifier(self, num_labels: int, pooling: Pooling = "first") -> TextClassifier:
        """A classifier on a copy of the model; it reads the decoder's state at the end token."""
        model = building.classifier_of(self.model, num_labels)
        return TextClassifier(model, self.tokenizer, self.config.max_length, text_of=text_of)

    def writer(self, max_target: int = 0) -> TextToText:
        """A text-to-text model on a copy of the weights, to be fine-tuned on (source, target)."""
        length = self.config.max_length
        copied = copy.deepcopy(self.model).requires_grad_(True)
        return TextToText(copied, self.tokenizer, length, max_target or length)
