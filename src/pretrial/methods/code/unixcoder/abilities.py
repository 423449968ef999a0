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

_MASK = "<mask0>"

#: What the model card says of the masks of the two modes that write.
RECIPE = '''\
It loads as `AutoModel`, in which all tokens see each other: so vectors are made, of texts such as
`<s> <encoder-only> </s> text </s>`, as the mean of their states. To go on with code or to describe
it, give the mask, as here. The output matrix is that of the embeddings.

```python
import torch
from transformers import AutoModel, AutoTokenizer

folder = "."  # where this file lies
model = AutoModel.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
first, last = tokenizer.cls_token, tokenizer.sep_token


def read_on(code):
    """What stands before a continuation, as token ids."""
    head = tokenizer.convert_tokens_to_ids([first, "<decoder-only>", last])
    return [*head, *tokenizer(code, add_special_tokens=False).input_ids]


def read_to_describe(code):
    """What stands before a description, as token ids."""
    head = tokenizer.convert_tokens_to_ids([first, "<encoder-decoder>", last, "<mask0>"])
    return [*head, *tokenizer(code, add_special_tokens=False).input_ids, tokenizer.sep_token_id]


@torch.no_grad()
def logits(source, target, together):
    """What is predicted behind each token of a source and its target, lists of ids [T, V].

    `together`: the tokens of the source see each other; else each sees what stands before it.
    """
    ids = torch.tensor([[*source, *target]])
    place = torch.arange(ids.shape[1])
    seen = (place <= place[:, None]) | ((place < len(source)) & together)
    mask = torch.zeros(seen.shape, dtype=model.dtype)
    mask = mask.masked_fill(~seen, torch.finfo(model.dtype).min)[None, None]
    states = model(ids, attention_mask=mask).last_hidden_state[0]
    return states @ model.embeddings.word_embeddings.weight.T


def write(source, together, max_new_tokens=64):
    """The likeliest tokens that follow, one after the other, as text."""
    written = []
    while len(written) < max_new_tokens:
        token = int(logits(source, written, together)[-1].argmax())
        if token == tokenizer.sep_token_id:
            break
        written.append(token)
    return tokenizer.decode(written, skip_special_tokens=True)


print(write(read_on("def add(a, b):"), together=False))
print(write(read_to_describe("def add(a, b): return a + b"), together=True))
```
'''


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
        lacking = [place for place, each in enumerate(examples) if _MASK not in self.text_of(each)]
        if lacking:
            raise UserError(f"row {lacking[0]} has no {_MASK}: put it where something is missing")
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
            # the first mask opens every target, and not all vocabularies have it as special
            yield [self.tokens.text_of(way).replace(_MASK, "").strip() for way in ways]

    def _room(self, max_new_tokens: int, num_around: int) -> int:
        """Tokens of text that fit into a prompt."""
        room = self.text_length - num_around - max_new_tokens
        if room < 1 or max_new_tokens < 1:
            raise UserError(
                f"max_new_tokens is from 1 to {self.text_length - num_around - 1} here, not"
                f" {max_new_tokens}"
            )
        return room
