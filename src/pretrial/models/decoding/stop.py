"""Ending samples at texts such as the next "def", for models that were not taught to stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# What ends a function that HumanEval asks for (Chen et al. 2021, arXiv 2107.03374, section 3.2).
PYTHON_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint", "\n```")


class StopTexts:
    """Tells whether a sample has reached one of some texts; for the `finished` of `sample`.

    Only the end of the sample is looked at, as pieces of text a token: the call costs a few
    microseconds whatever the length of the sample.

    Args:
        tokenizer: a transformers tokenizer; tokens of the stop texts must decode alone to the
            characters that they stand for, as those of byte-level tokenizers do for ASCII.
        texts: the stop texts.
    """

    def __init__(self, tokenizer: Any, texts: Sequence[str] = PYTHON_STOPS) -> None:
        self.tokenizer = tokenizer
        self.texts = tuple(texts)
        self._reach = max(map(len, self.texts))
        self._pieces: dict[int, str] = {}

    def __call__(self, ids: Sequence[int]) -> bool:
        """True as soon as the last of `ids` completes a stop text."""
        tail = self._piece(ids[-1])
        wanted = len(tail) + self._reach - 1
        for token in reversed(ids[:-1]):
            if len(tail) >= wanted:
                break
            tail = self._piece(token) + tail
        return any(text in tail for text in self.texts)

    def cut(self, text: str) -> str:
        """The text up to the first stop text."""
        return text[
            : min((at for stop in self.texts if (at := text.find(stop)) >= 0), default=None)
        ]

    def _piece(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = self.tokenizer.decode([token])
        return self._pieces[token]
