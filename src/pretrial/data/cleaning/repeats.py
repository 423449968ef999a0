"""Parts of documents that stood in earlier ones: whole paragraphs, and long runs of words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from pretrial.data.cleaning.key_index import KeyIndex
from pretrial.data.cleaning.shingles import shingles, words
from pretrial.errors import UserError


class ParagraphRepeats:
    """Takes out paragraphs that stood in an earlier document, such as licences and menus.

    Args:
        min_chars: shorter paragraphs may come again.
    """

    def __init__(self, min_chars: int = 80) -> None:
        self.min_chars = min_chars
        self._seen: set[bytes] = set()

    def strip(self, text: str) -> str:
        """The text without paragraphs seen before; its own are remembered."""
        kept = []
        for part in text.split("\n\n"):
            plain = " ".join(part.split()).lower()
            if len(plain) >= self.min_chars:
                digest = hashlib.blake2b(plain.encode("utf-8", "replace"), digest_size=8).digest()
                if digest in self._seen:
                    continue
                self._seen.add(digest)
            kept.append(part)
        return "\n\n".join(kept)


class RunRepeats:
    """Takes out runs of words that stood in an earlier document, word for word.

    Of the earlier documents every `every`-th run of `num_words` is remembered, chosen by its hash,
    so a repeat of num_words + a few times `every` words is found almost surely.

    Args:
        num_words: shortest repeat.
        every: one of so many runs is remembered.
    """

    def __init__(self, num_words: int = 50, every: int = 8) -> None:
        if num_words < 2 or every < 1:
            raise UserError("repeated runs need two words or more, and every=1 or more")
        self.num_words, self.every = num_words, every
        self._index = KeyIndex()

    def strip(self, texts: Sequence[str]) -> list[str]:
        """The texts without what stood in earlier ones; they are remembered one after another."""
        found = words(texts)
        hashes, starts = shingles(found, self.num_words)
        chosen = np.flatnonzero(hashes % np.uint64(self.every) == 0)
        before = self._index.contains(hashes[chosen])
        bounds = np.searchsorted(chosen, starts)
        fresh: set[int] = set()  # of the texts of this call
        made = []
        for number, text in enumerate(texts):
            mine = slice(bounds[number], bounds[number + 1])
            own = hashes[chosen[mine]].tolist()
            again = [
                int(place - starts[number])
                for place, value, known in zip(chosen[mine], own, before[mine], strict=True)
                if known or value in fresh
            ]
            if found.counts[number] >= self.num_words:
                fresh.update(own)
            spans = found.spans[found.starts[number] : found.starts[number + 1]]
            made.append(self._cut(text, spans, again) if again else text)
        if fresh:
            keys = np.fromiter(fresh, dtype=np.uint64, count=len(fresh))
            self._index.add(keys[:, None], np.zeros(len(keys), dtype=np.int32))
        return made

    def _cut(self, text: str, spans: np.ndarray, again: list[int]) -> str:
        """The text without the words of the runs that begin at words `again`."""
        raw = text.encode("utf-8", "replace")
        kept, at = [], 0
        for first in again:
            last = min(first + self.num_words, len(spans)) - 1
            begin, end = int(spans[first, 0]), int(spans[last, 1])
            kept.append(raw[at : max(begin, at)])
            at = max(end, at)
        return b"".join([*kept, raw[at:]]).decode("utf-8", "replace")
