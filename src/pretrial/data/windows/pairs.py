"""Windows of two texts: a short one in front, such as a comment or a question, and a longer one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A token of more than so many characters is rare; what lies further on is cut before it is split.
_CHARACTERS_A_TOKEN = 32


def pair_windows(
    heads: Sequence[str],
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[list[int]]:
    """Token ids of head, separator and text, or of the text alone, cut to fit.

    Args:
        heads: "" for none; one takes a quarter of the window at most.
        texts: one for each head.
        tokenizer: with a separator.
        max_length: of the sequence, the special tokens at its ends included; they are left out.
    """
    room = max_length - 2

    def ids_of(some: Sequence[str]) -> list[list[int]]:
        cut = [text[: room * _CHARACTERS_A_TOKEN] for text in some]
        # what looks like a special token is text
        return tokenizer(cut, add_special_tokens=False, split_special_tokens=True)["input_ids"]

    found = []
    for head, ids in zip(ids_of(heads), ids_of(texts), strict=True):
        front = [*head[: room // 4], tokenizer.sep_token_id] if head else []
        found.append(front + ids[: room - len(front)])
    return found
