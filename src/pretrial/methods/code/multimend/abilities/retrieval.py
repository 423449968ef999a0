"""Context augmentation: lines of the file that resemble the wrong ones."""

from __future__ import annotations

import random
import string

import torch
from torch import Tensor

from pretrial.methods.code.multimend.config import Retrieval
from pretrial.methods.code.multimend.data.fixes import collapsed
from pretrial.models.architectures.sentence_encoder import SentenceEncoder, load_sentence_encoder

_MARKS = string.punctuation + string.whitespace


def candidates(before: str, after: str, query: str) -> list[str]:
    """Lines around a context that may be retrieved for it.

    White space is collapsed; lines of blanks and punctuation only, repeats, and lines equal to the
    query are left out.

    Args:
        before: what stands before the context.
        after: what stands behind it.
        query: the wrong lines.
    """
    lines = dict.fromkeys(collapsed(line) for text in (before, after) for line in text.split("\n"))
    return [line for line in lines if line.strip(_MARKS) and line != collapsed(query)]


class Retriever:
    """Finds lines for a query.

    Args:
        kind: by the cosine of embeddings, at random (the control), or not at all.
        num_lines: most lines that are found.
        max_distance: of their embeddings, 1 - cosine.
        embedder: see `load_sentence_encoder`; loaded when first needed.
    """

    def __init__(
        self, kind: Retrieval, num_lines: int, max_distance: float, embedder: str = "minilm"
    ) -> None:
        self.kind = kind
        self.num_lines = num_lines
        self.max_distance = max_distance
        self.embedder = embedder
        self._encoder: SentenceEncoder | None = None
        self._vectors: dict[str, Tensor] = {}  # the hunks of a file share its lines

    def find(self, query: str, lines: list[str]) -> list[str]:
        """The best lines, best first; none for a query of blanks and punctuation.

        Raises:
            UserError: the package of the embeddings is not installed.
        """
        if self.kind == "none" or not query.strip(_MARKS) or not lines:
            return []
        if self.kind == "random":
            return random.Random(query).sample(lines, min(self.num_lines, len(lines)))
        # rag_utils.py: the nearest by cosine, none beyond max_distance; there by an index
        vectors = self._embedded([query, *lines])
        distances = (1 - vectors[1:] @ vectors[0]).tolist()
        order = sorted(range(len(lines)), key=lambda place: (distances[place], place))
        best = order[: self.num_lines]
        return [lines[place] for place in best if distances[place] <= self.max_distance]

    def _embedded(self, lines: list[str]) -> Tensor:
        """Vectors [N, d] of length 1; each line is embedded once."""
        if self._encoder is None:
            self._encoder = load_sentence_encoder(self.embedder)
        new = [line for line in dict.fromkeys(lines) if line not in self._vectors]
        self._vectors |= dict(zip(new, self._encoder.encode(new), strict=True))
        return torch.stack([self._vectors[line] for line in lines])
