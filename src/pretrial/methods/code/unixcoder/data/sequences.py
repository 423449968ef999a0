"""The sequences that the objectives train on, and batches of them.

Every sequence begins with `<s> mode </s>`. Without padding they are:

    masked        <s> <encoder-only> </s> content </s>              some of the content hidden
    left_to_right <s> <decoder-only> </s> content </s>              all behind the prefix predicted
    denoise       <s> <encoder-decoder> </s> content </s> spans </s>           the end predicted
    generate      <s> <encoder-decoder> </s> <mask0> code </s> <mask0> comment </s>     likewise
    contrast      <s> <encoder-only> </s> code </s>                 nothing predicted, read twice
    align         the same, of the comment and then of the code, each read once

Content is the comment followed by the code with the marks of its tree. In `denoise` each hidden
span is a token <maskK> in the content, and <maskK> followed by the span behind it. In `generate`
code and comment may change places, and in `contrast` the comment may stand for the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from pretrial.corrupt.masks import mask_tokens
from pretrial.methods.code.unixcoder.config import Config, Objective
from pretrial.methods.code.unixcoder.data.fragments import Item
from pretrial.methods.code.unixcoder.data.vocabulary import Mode, Vocabulary
from pretrial.models.layers.attention_masks import AttentionPattern

#: Who sees whom under each objective.
PATTERNS: dict[str, AttentionPattern] = {
    "masked": "bidirectional",
    "contrast": "bidirectional",
    "align": "bidirectional",
    "left_to_right": "causal",
    "denoise": "prefix",
    "generate": "prefix",
}
#: Objectives that need code and a comment.
PAIRED: tuple[Objective, ...] = ("align", "generate")
_NUM_AROUND = 4  # <s>, the mode, </s> and the last </s>


class Sample(NamedTuple):
    """One sequence.

    Attributes:
        input_ids: what the model reads.
        ids: the original tokens.
        source_length: tokens of its source; all of them where there is no target.
        positions: places whose states predict, in order.
        predicted: places of the tokens that they predict.
    """

    input_ids: list[int]
    ids: list[int]
    source_length: int
    positions: list[int]
    predicted: list[int]


@dataclass(frozen=True)
class Sampler:
    """Makes samples of items.

    Attributes:
        vocabulary: the tokens.
        config: lengths, rates and probabilities.
    """

    vocabulary: Vocabulary
    config: Config

    @property
    def swap_prob(self) -> float:
        """Probability that comment and code are exchanged; tasks leave them where they are."""
        return self.config.swap_prob if self.config.task == "pretrain" else 0.0

    def sample(self, objective: str, item: Item, generator: torch.Generator) -> Sample:
        """One sequence; all randomness comes from `generator`."""
        code = item.code
        if float(torch.rand((), generator=generator)) < self.config.drop_prob:
            code = self.vocabulary.without_marks(code)
        comment = item.comment.tolist()
        content = [*comment, *code.tolist()]
        if objective == "masked":
            return self._masked(content, generator)
        if objective == "left_to_right":
            return self._left_to_right(content)
        if objective == "denoise":
            return self._denoise(content, generator)
        if objective == "generate":
            return self._generate(code.tolist(), comment, generator)
        if objective == "contrast" and comment and len(code):
            content = comment if self._swapped(generator) else code.tolist()
        ids = self.wrapped("<encoder-only>", content[: self.config.max_length - _NUM_AROUND])
        return Sample(ids, ids, len(ids), [], [])

    def samples(
        self, objective: str, items: Sequence[Item], generator: torch.Generator
    ) -> list[Sample]:
        """Sequences of items, each drawn by a generator of its own.

        Where vectors are compared, the second half has the second view of each item.
        """
        seeds = torch.randint(2**62, (len(items),), generator=generator).tolist()

        def drawn(views: Sequence[Item]) -> list[Sample]:
            return [
                self.sample(objective, item, torch.Generator().manual_seed(seed))
                for item, seed in zip(views, seeds, strict=True)
            ]

        if objective == "align":
            comments = [item.without_code() for item in items]
            return drawn(comments) + drawn([item.without_comment() for item in items])
        return drawn(items) * (2 if objective == "contrast" else 1)

    def prefix(self, mode: Mode) -> list[int]:
        """`<s> mode </s>`."""
        return [self.vocabulary.cls, self.vocabulary.modes[mode], self.vocabulary.sep]

    def wrapped(self, mode: Mode, content: Sequence[int]) -> list[int]:
        """`<s> mode </s> content </s>`."""
        return [*self.prefix(mode), *content, self.vocabulary.sep]

    def _masked(self, content: list[int], generator: torch.Generator) -> Sample:
        ids = self.wrapped("<encoder-only>", content[: self.config.max_length - _NUM_AROUND])
        maskable = torch.ones(len(ids), dtype=torch.bool)
        maskable[:3] = maskable[-1] = False
        masked = mask_tokens(
            torch.tensor(ids),
            maskable,
            mask_id=self.vocabulary.mask,
            ratio=self.config.mask_ratio,
            generator=generator,
            mask_prob=self.config.mask_prob,
            random_prob=self.config.random_prob,
            random_ids=self.vocabulary.text_ids,
        )
        places = masked.chosen.nonzero().squeeze(-1).tolist()
        return Sample(masked.inputs.tolist(), ids, len(ids), places, places)

    def _left_to_right(self, content: list[int]) -> Sample:
        ids = self.wrapped("<decoder-only>", content[-(self.config.max_length - _NUM_AROUND) :])
        return continued(ids, 3)

    def _denoise(self, content: list[int], generator: torch.Generator) -> Sample:
        content = content[: self._longest_denoised(len(content))]
        num_spans = self._num_spans(len(content))
        edges = np.linspace(0, len(content), num_spans + 1).round().astype(int).tolist()
        source: list[int] = []
        target: list[int] = []
        for number, (start, end) in enumerate(pairwise(edges)):
            longest = min(2 * self.config.span_length - 1, end - start)
            length = int(torch.randint(1, longest + 1, (), generator=generator))
            first = start + int(torch.randint(end - start - length + 1, (), generator=generator))
            mask = self.vocabulary.masks[number]
            source += [*content[start:first], mask, *content[first + length : end]]
            target += [mask, *content[first : first + length]]
        source = self.wrapped("<encoder-decoder>", source)
        return continued([*source, *target, self.vocabulary.sep], len(source))

    def _num_spans(self, length: int) -> int:
        wanted = max(int(length * self.config.span_ratio / self.config.span_length), 1)
        return min(wanted, len(self.vocabulary.masks))

    def _longest_denoised(self, length: int) -> int:
        """How much content fits: a span costs two masks, and there is one more </s>."""
        while length + 2 * self._num_spans(length) + _NUM_AROUND + 1 > self.config.max_length:
            length -= 1
        return length

    def _generate(self, code: list[int], comment: list[int], generator: torch.Generator) -> Sample:
        room = self.config.max_length - _NUM_AROUND - 3  # two masks and one more </s>
        comment = comment[: max(room - len(code), room // 2)]
        code = code[: room - len(comment)]
        given, wanted = (comment, code) if self._swapped(generator) else (code, comment)
        source = self.described(given)
        mask, sep = self.vocabulary.masks[0], self.vocabulary.sep
        return continued([*source, mask, *wanted, sep], len(source))

    def _swapped(self, generator: torch.Generator) -> bool:
        """Whether comment and code are exchanged."""
        return float(torch.rand((), generator=generator)) < self.swap_prob

    def described(self, content: Sequence[int]) -> list[int]:
        """`<s> <encoder-decoder> </s> <mask0> content </s>`: what describes it is wanted."""
        return self.wrapped("<encoder-decoder>", [self.vocabulary.masks[0], *content])


def continued(ids: list[int], source_length: int) -> Sample:
    """A sequence in which all behind its source is predicted from what stands before it."""
    positions = list(range(source_length - 1, len(ids) - 1))
    return Sample(ids, ids, source_length, positions, [place + 1 for place in positions])


def collate(objective: str, samples: Sequence[Sample], num_items: int, pad: int) -> dict[str, Any]:
    """A batch.

    Args:
        objective: of all samples.
        samples: the sequences, B of them.
        num_items: that they are of.
        pad: id of padding, which is on the right.

    Returns:
        objective: as given.
        input_ids: what the model reads [B, T].
        attention_mask: True where there is a token, False at padding [B, T].
        labels: the token that the state at each place is to predict [B, T].
        loss_mask: True at the places whose states predict one [B, T].
        positions: their indices into the flattened [B * T], on the host [N]; see `chosen_of`.
        source_lengths: [B].
        counts: "examples", "tokens" and "predicted".
    """
    length = max(len(sample.ids) for sample in samples)
    input_ids = torch.full((len(samples), length), pad)
    labels = input_ids.clone()
    attention_mask = torch.zeros(input_ids.shape, dtype=torch.bool)
    loss_mask = attention_mask.clone()
    for row, sample in enumerate(samples):
        end = len(sample.ids)
        input_ids[row, :end] = torch.tensor(sample.input_ids)
        attention_mask[row, :end] = True
        loss_mask[row, sample.positions] = True
        labels[row, sample.positions] = torch.tensor(sample.ids)[sample.predicted]
    positions = loss_mask.numpy().ravel().nonzero()[0]
    return {
        "objective": objective,
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "labels": labels,
        "loss_mask": loss_mask,
        "positions": positions,
        "source_lengths": torch.tensor([sample.source_length for sample in samples]),
        "counts": {
            "examples": float(num_items),
            "tokens": float(attention_mask.sum()),
            "predicted": float(len(positions)),
        },
    }
