"""Dialogues: ChatML, the loss on responses only, and noise on the token vectors (NEFTune)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pretrial.data.rows import text_in, where
from pretrial.errors import UserError
from pretrial.methods.text.yi.network.context import context_values
from pretrial.models.architectures.language_model import CausalLM, decoder_batch
from pretrial.train.device import to_device
from pretrial.train.stage import Batch

#: The tokens around a turn.
BEGIN, END = "<|im_start|>", "<|im_end|>"
_ROLES = ("system", "user", "assistant")


class Turns(NamedTuple):
    """A dialogue in tokens.

    Attributes:
        ids: all tokens.
        asked: True at those of responses and at the end of each.
    """

    ids: list[int]
    asked: list[bool]


def check_messages(messages: Any, number: int) -> None:
    """Checks the messages of a row.

    Raises:
        UserError: they are no dialogue with a response.
    """
    form = 'give a list such as [{"role": "user", "content": "..."}, {"role": "assistant", ...}]'
    good = isinstance(messages, Sequence) and not isinstance(messages, str) and messages
    if not good or not all(isinstance(each, Mapping) for each in messages):
        raise UserError(f"'messages' of row {number} is no dialogue: {form}")
    for each in messages:
        if each.get("role") not in _ROLES or not isinstance(each.get("content"), str):
            raise UserError(
                f"a message of row {number} lacks a text or a role out of {', '.join(_ROLES)}:"
                f" {form}"
            )
    if not any(each["role"] == "assistant" and each["content"].strip() for each in messages):
        raise UserError(f"the dialogue of row {number} has no response of the assistant: {form}")


def check_row(number: int, row: dict[str, Any]) -> dict[str, Any]:
    """The row, if it has a text or a dialogue.

    Raises:
        UserError: it has neither.
    """
    if "messages" in row:
        check_messages(row["messages"], number)
    elif "text" in row:
        text_in(row, number)
    else:
        raise UserError(
            f"row {number} has neither 'text' nor 'messages' (found: {', '.join(row)}):"
            " name the one to use with --fields text=OTHER"
        )
    return row


def turns(messages: Sequence[Mapping[str, str]], tokenizer: Any, max_length: int) -> Turns:
    """A dialogue in ChatML, cut at `max_length` tokens."""
    ids: list[int] = []
    asked: list[bool] = []

    def put(text: str, is_asked: bool) -> None:
        new = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids.extend(new)
        asked.extend([is_asked] * len(new))

    for message in messages:
        put(f"{BEGIN}{message['role']}\n", False)
        put(f"{message['content']}{END}", message["role"] == "assistant")
        put("\n", False)
    return Turns(ids[:max_length], asked[:max_length])


def prompt(messages: Sequence[Mapping[str, str]]) -> str:
    """The text of a dialogue as far as it goes, with a response begun."""
    parts = [f"{BEGIN}{each['role']}\n{each['content']}{END}\n" for each in messages]
    return "".join([*parts, f"{BEGIN}assistant\n"])


def mix(
    dialogues: Sequence[Mapping[str, Any]], shares: Mapping[str, float]
) -> Sequence[Mapping[str, Any]]:
    """Dialogues thinned out by ability; which ones stay depends on their text alone.

    Raises:
        UserError: no dialogue has one of the abilities.
    """
    known = {str(each.get("ability") or "") for each in dialogues}
    for name in shares:
        if name not in known:
            raise UserError(
                f"no dialogue has the ability {name!r}; there are"
                f" {', '.join(sorted(known - {''})) or 'none: add a field ability'}"
            )

    def is_kept(each: Mapping[str, Any]) -> bool:
        text = repr(each["messages"]).encode("utf-8", "replace")
        lot = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") / 2**64
        return lot < shares.get(str(each.get("ability") or ""), 1.0)

    return where(dialogues, is_kept)


class ChatTuner(CausalLM):
    """Learns the responses of dialogues.

    Args:
        network: of transformers.
        tokenizer: its tokenizer.
        noise: alpha; in training, uniform noise in [-1, 1] * alpha / sqrt(L d) is added to the
            token vectors of a dialogue of L tokens of width d (NEFTune, arXiv 2310.05914).
    """

    def __init__(self, network: Any, tokenizer: Any, noise: float) -> None:
        super().__init__(network, tokenizer)
        self.noise = noise

    def batch(self, examples: Sequence[Turns], generator: torch.Generator) -> Batch:  # type: ignore[override]
        """The tokens of responses are predicted; `seeds` [B] are those of the noise."""
        ids, asked = zip(*examples, strict=True)
        batch = decoder_batch(ids, asked, self.pad)
        batch["counts"]["tokens"] = batch["counts"]["targets"]
        batch["seeds"] = torch.randint(2**62, (len(examples),), generator=generator)
        return batch

    def losses(self, batch: Batch, vectors: Tensor | None = None) -> dict[str, Tensor]:
        """Mean cross-entropy of the tokens of responses."""
        vectors = self.network.get_input_embeddings()(batch["input_ids"])  # [B, T, d]
        if self.training and self.noise:
            vectors = vectors + self._noise(vectors, batch)
        return super().losses(batch, vectors)

    def _noise(self, vectors: Tensor, batch: Batch) -> Tensor:
        """Noise [B, T, d], of each dialogue from a seed of its own; none on padding."""
        width = vectors.shape[2]
        noise = torch.zeros_like(vectors)
        lengths = batch["attention_mask"].sum(1)
        pairs = zip(batch["seeds"].tolist(), lengths.tolist(), strict=True)
        for row, (seed, length) in enumerate(pairs):
            generator = torch.Generator().manual_seed(seed)
            drawn = 2 * torch.rand(length, width, generator=generator) - 1
            noise[row, :length] = (drawn * self.noise / (length * width) ** 0.5).to(noise)
        return noise


@torch.no_grad()
def surprising(
    network: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]]
) -> list[tuple[float, int]]:
    """The loss of each dialogue's responses and its number, the highest loss first.

    Raises:
        UserError: a row has no dialogue.
    """
    tuner = ChatTuner(network, tokenizer, 0.0).eval()
    length = context_values(network)["max_position_embeddings"]
    found = []
    for number, row in enumerate(rows):
        if "messages" not in row:
            raise UserError(f"row {number} has no 'messages': flag looks at dialogues")
        own = turns(row["messages"], tokenizer, length)
        if any(own.asked[1:]):
            batch = tuner.batch([own], torch.Generator())
            batch = to_device(batch, network.device)
            found.append((float(tuner.losses(batch)["loss"]), number))
    return sorted(found, reverse=True)
