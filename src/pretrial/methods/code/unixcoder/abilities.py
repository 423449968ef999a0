"""What a UniXcoder is for: vectors, search, completion, description, what a mask stands for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pretrial.data.reading.sources import load
from pretrial.data.rows import require
from pretrial.errors import UserError
from pretrial.evaluate.index import kept_index
from pretrial.methods.code.unixcoder.decoding import generate, states_of
from pretrial.methods.code.unixcoder.fragments import Fragment
from pretrial.models.decoding.cache import padded

if TYPE_CHECKING:
    from pretrial.methods.code.unixcoder.inputs import Sampler


class Abilities:
    """The abilities, each of which takes texts or fragments.

    Of a fragment the code counts, and the comment where there is no code.

    Attributes:
        network: the stack.
        vocabulary: its tokens.
    """

    network: Any
    vocabulary: Any

    @property
    @abstractmethod
    def sampler(self) -> Sampler:
        """Makes the sequences."""

    @property
    def max_tokens(self) -> int:
        """The longest sequence that the network reads."""
        return self.network.config.max_position_embeddings - 2

    @torch.no_grad()
    def encode(self, texts: Sequence[str | Fragment], *, batch_size: int = 64) -> Tensor:
        """One vector a text, of code or of English: the mean of its states [N, d], on the CPU.

        Args:
            texts: texts, or fragments, of which the code counts, and the comment where there is
                none.
            batch_size: texts at once; they are grouped by length.
        """
        if not len(texts):
            raise UserError("there are no texts to encode: give at least one")
        room = self.max_tokens - 4
        sequences = [
            self.sampler.wrapped("<encoder-only>", self.vocabulary.ids_of(_text(text))[:room])
            for text in texts
        ]
        training = self.network.training
        self.network.eval()
        order = sorted(range(len(sequences)), key=lambda place: len(sequences[place]))
        vectors: list[Tensor] = [torch.empty(0)] * len(sequences)
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            rows = [sequences[place] for place in places]
            ids = padded(rows, self.vocabulary.pad, self.network.device)
            lengths = torch.tensor([len(row) for row in rows], device=ids.device)
            real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
            states = states_of(self.network, ids, real, "bidirectional")
            for place, vector in zip(places, mean_of(states, real).float().cpu(), strict=True):
                vectors[place] = vector
        self.network.train(training)
        return torch.stack(vectors)

    def search(
        self,
        examples: Sequence[str | Fragment],
        *,
        corpus: str,
        field: str = "code",
        top: int = 10,
        index: str = "",
    ) -> Iterator[dict[str, Any]]:
        """The nearest rows of a corpus for each query, which may be English or code.

        Args:
            examples: the queries.
            corpus: a file, folder or data set whose rows are searched.
            field: of its rows, the one that is searched.
            top: how many rows a query.
            index: a folder that keeps the corpus' vectors; made where it is missing.
        """
        rows = load(corpus)
        require(rows, (field,))
        texts = [str(row[field]) for row in rows]
        weights = self.network.embeddings.word_embeddings.weight
        model = f"{type(self).__name__} {weights.double().sum().item()}"
        kept = kept_index(Path(index) if index else None, list(rows), texts, self.encode, model)
        scores, places = kept.search(self.encode(examples), top)
        for example, near, where in zip(examples, scores.tolist(), places.tolist(), strict=True):
            found = [
                {"score": round(score, 6), field: texts[place], "place": place}
                for score, place in zip(near, where, strict=True)
            ]
            yield {"query": _text(example), "found": found}

    def complete(
        self,
        examples: Sequence[str | Fragment],
        *,
        num_beams: int = 5,
        max_new_tokens: int = 64,
        line: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """What comes after each piece of code.

        Args:
            examples: beginnings of code; of long ones the end counts.
            num_beams: of beam search; 1 is greedy.
            max_new_tokens: longest continuation.
            line: stop at the end of the line.
        """
        vocabulary, room = self.vocabulary, self._room(max_new_tokens, 3)
        prefix = self.sampler.prefix("<decoder-only>")
        prompts = [[*prefix, *vocabulary.ids_of(_text(each))[-room:]] for each in examples]
        ends = {vocabulary.sep, *(vocabulary.ends_of_line() if line else ())}
        options = {"num_beams": num_beams, "max_new_tokens": max_new_tokens}
        for ways in generate(self.network, prompts, "causal", eos=ends, **options):
            text = vocabulary.text_of(ways[0])
            yield {"completion": text.split("\n")[0] if line else text}

    def summarise(
        self,
        examples: Sequence[str | Fragment],
        *,
        num_beams: int = 10,
        max_new_tokens: int = 64,
    ) -> Iterator[dict[str, Any]]:
        """What each piece of code does, in a sentence.

        Args:
            examples: code.
            num_beams: of beam search; 1 is greedy.
            max_new_tokens: longest sentence.
        """
        ids_of, wrapped = self.vocabulary.ids_of, self.sampler.described
        for ways in self._describe(examples, ids_of, wrapped, num_beams, max_new_tokens):
            yield {"summary": ways[0]}

    def fill(
        self,
        examples: Sequence[str | Fragment],
        *,
        num_beams: int = 3,
        max_new_tokens: int = 32,
    ) -> Iterator[dict[str, Any]]:
        """What "<mask0>" stands for in each piece of code, such as a name or a comment.

        Args:
            examples: code with "<mask0>" in it.
            num_beams: of beam search; as many answers are given.
            max_new_tokens: longest answer.
        """
        lacking = [place for place, each in enumerate(examples) if "<mask0>" not in _text(each)]
        if lacking:
            raise UserError(f"row {lacking[0]} has no <mask0>: put it where something is missing")
        wrapped = partial(self.sampler.wrapped, "<encoder-decoder>")
        ids_of = self.vocabulary.ids_with_masks
        for ways in self._describe(examples, ids_of, wrapped, num_beams, max_new_tokens):
            yield {"filled": ways}

    def generate_texts(
        self, sources: Sequence[str], *, max_new_tokens: int = 0, num_beams: int = 10
    ) -> list[str]:
        """A sentence for each piece of code, for the task of that name."""
        rows = self.summarise(sources, num_beams=num_beams, max_new_tokens=max_new_tokens or 64)
        return [row["summary"] for row in rows]

    def _describe(
        self,
        examples: Sequence[str | Fragment],
        ids_of: Callable[[str], list[int]],
        wrapped: Callable[[list[int]], list[int]],
        num_beams: int,
        max_new_tokens: int,
    ) -> Iterator[list[str]]:
        """The likeliest targets of each source."""
        room = self._room(max_new_tokens, 5)
        prompts = [wrapped(ids_of(_text(each))[:room]) for each in examples]
        options = {"num_beams": num_beams, "max_new_tokens": max_new_tokens}
        for ways in generate(self.network, prompts, "prefix", eos={self.vocabulary.sep}, **options):
            yield [self.vocabulary.text_of(way).strip() for way in ways]

    def _room(self, max_new_tokens: int, num_around: int) -> int:
        """Tokens of text that fit into a prompt."""
        room = self.max_tokens - num_around - max_new_tokens
        if room < 1 or max_new_tokens < 1:
            raise UserError(
                f"max_new_tokens is from 1 to {self.max_tokens - num_around - 1} here, not"
                f" {max_new_tokens}"
            )
        return room


def _text(example: str | Fragment) -> str:
    """The code, or the comment where there is none."""
    return example if isinstance(example, str) else example.code or example.comment or ""


def mean_of(states: Tensor, real: Tensor) -> Tensor:
    """Means [B, d] of states [B, T, d] over the tokens."""
    weights = real.unsqueeze(-1).to(states.dtype)  # [B, T, 1]
    return (states * weights).sum(1) / weights.sum(1)
