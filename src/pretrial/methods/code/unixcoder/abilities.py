"""What a UniXcoder is for: vectors, search, completion, description, what a mask stands for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from pretrial.data.reading.sources import load
from pretrial.data.rows import require
from pretrial.errors import UserError
from pretrial.evaluate.index import kept_index
from pretrial.methods.code.unixcoder.data.fragments import Fragment
from pretrial.methods.code.unixcoder.data.sequences import Sampler
from pretrial.methods.code.unixcoder.network import generate


class Abilities:
    """The abilities beside those of any encoder, each of which takes texts or fragments.

    Attributes:
        network: the stack.
        tokens: what its tokens mean.
    """

    network: Any
    tokens: Any

    @property
    @abstractmethod
    def sampler(self) -> Sampler:
        """Makes the sequences."""

    @property
    @abstractmethod
    def text_length(self) -> int:
        """The longest sequence that the network reads."""

    @staticmethod
    @abstractmethod
    def text_of(example: Any) -> str:
        """What is read of a text or a fragment."""

    @abstractmethod
    def encode(self, examples: Sequence[Any]) -> Tensor:
        """One vector each [N, d]."""

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
            results = [
                {"score": round(score, 6), "place": place, field: texts[place]}
                for score, place in zip(near, where, strict=True)
            ]
            yield {"text": self.text_of(example), "results": results}

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
        tokens, room = self.tokens, self._room(max_new_tokens, 3)
        prefix = self.sampler.prefix("<decoder-only>")
        prompts = [[*prefix, *tokens.ids_of(self.text_of(each))[-room:]] for each in examples]
        ends = {tokens.sep, *(tokens.ends_of_line() if line else ())}
        options = {"num_beams": num_beams, "max_new_tokens": max_new_tokens}
        for ways in generate(self.network, prompts, "causal", eos=ends, **options):
            text = tokens.text_of(ways[0])
            yield {"text": text.split("\n")[0] if line else text}

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
        ids_of, wrapped = self.tokens.ids_of, self.sampler.described
        for ways in self._describe(examples, ids_of, wrapped, num_beams, max_new_tokens):
            yield {"text": ways[0]}

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
        lacking = [
            place for place, each in enumerate(examples) if "<mask0>" not in self.text_of(each)
        ]
        if lacking:
            raise UserError(f"row {lacking[0]} has no <mask0>: put it where something is missing")
        wrapped = partial(self.sampler.wrapped, "<encoder-decoder>")
        ids_of = self.tokens.ids_with_masks
        for ways in self._describe(examples, ids_of, wrapped, num_beams, max_new_tokens):
            yield {"text": ways[0], "texts": ways}

    def generate_texts(
        self, sources: Sequence[str], *, max_new_tokens: int = 0, num_beams: int = 10
    ) -> list[str]:
        """A sentence for each piece of code, for the task of that name."""
        rows = self.summarise(sources, num_beams=num_beams, max_new_tokens=max_new_tokens or 64)
        return [row["text"] for row in rows]

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
        prompts = [wrapped(ids_of(self.text_of(each))[:room]) for each in examples]
        options = {"num_beams": num_beams, "max_new_tokens": max_new_tokens}
        for ways in generate(self.network, prompts, "prefix", eos={self.tokens.sep}, **options):
            yield [self.tokens.text_of(way).strip() for way in ways]

    def _room(self, max_new_tokens: int, num_around: int) -> int:
        """Tokens of text that fit into a prompt."""
        room = self.text_length - num_around - max_new_tokens
        if room < 1 or max_new_tokens < 1:
            raise UserError(
                f"max_new_tokens is from 1 to {self.text_length - num_around - 1} here, not"
                f" {max_new_tokens}"
            )
        return room
