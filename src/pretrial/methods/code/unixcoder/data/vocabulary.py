"""What the tokens of the vocabulary mean: modes, masks, marks of the syntax tree, and text."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from tokenizers.processors import TemplateProcessing

from pretrial.errors import UserError
from pretrial.methods.code.unixcoder.data.mapping import Mark, Symbol
from pretrial.models.tokenizers import learn_bpe

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

Mode = Literal["<encoder-only>", "<decoder-only>", "<encoder-decoder>"]
MODES: tuple[Mode, ...] = ("<encoder-only>", "<decoder-only>", "<encoder-decoder>")

_MARK = re.compile(r"<(.+)::(left|right)>")
_HIDDEN = re.compile(r"(<mask\d+>)")
_NUM_MASKS = 64  # of a learned vocabulary; at the published rates 1,024 tokens need 30

#: Roles and texts in the order of their ids, which is that of RoBERTa.
SPECIALS = {
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def learn_vocabulary(
    texts: Iterable[str], kinds: Iterable[str], vocab_size: int
) -> PreTrainedTokenizerBase:
    """A byte-level BPE vocabulary with the tokens of the modes, of the masks and of the marks.

    Args:
        texts: to learn from.
        kinds: of inner nodes; each gives the two tokens of its ends.
        vocab_size: most entries in all.

    Raises:
        UserError: there is no room for them.
    """
    marks = [str(Mark(kind, side)) for kind in sorted(set(kinds)) for side in ("left", "right")]
    added = [*MODES, *(f"<mask{number}>" for number in range(_NUM_MASKS)), *marks]
    least = 256 + len(SPECIALS) + 1 + len(added)
    if vocab_size < least:
        raise UserError(
            f"{len(marks)} marks of syntax, modes and masks leave no room for text: set vocab_size"
            f" to {least} or more, or ast to none"
        )
    tokenizer = learn_bpe(texts, vocab_size - len(added), specials=SPECIALS)
    tokenizer.add_tokens(added, special_tokens=True)
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    return tokenizer


class Vocabulary:
    """A tokenizer, and the ids of the tokens that mean something to the method.

    Attributes:
        tokenizer: the tokenizer.
        modes: ids of the three prefixes.
        masks: ids of "<mask0>", "<mask1>", ...
        marks: ids of the ends of inner nodes.
        is_mark: True at the id of a mark [V].
        text_ids: ids that random tokens are drawn from [R].
        reader: the tokenizer, which puts the prefix of the encoder-only mode before a text.
    """

    def __init__(self, tokenizer: Any, source: str | Path = "") -> None:
        """Raises UserError where the tokenizer is not of a UniXcoder."""
        self.tokenizer = tokenizer
        known = tokenizer.get_vocab()
        missing = [token for token in (*MODES, "<mask0>") if token not in known]
        if missing:
            raise UserError(
                f"the vocabulary of {source} has no {', '.join(missing)}: give the name or folder"
                " of a UniXcoder checkpoint, such as microsoft/unixcoder-base"
            )
        self.cls, self.sep = int(tokenizer.cls_token_id), int(tokenizer.sep_token_id)
        self.pad, self.mask = int(tokenizer.pad_token_id), int(tokenizer.mask_token_id)
        self.modes: dict[Mode, int] = {mode: known[mode] for mode in MODES}
        self.masks: list[int] = []
        while (token := f"<mask{len(self.masks)}>") in known:
            self.masks.append(known[token])
        found = ((_MARK.fullmatch(token), place) for token, place in known.items())
        self.marks: dict[Symbol, int] = {
            Mark(match[1], match[2]): place  # type: ignore[arg-type]
            for match, place in found
            if match
        }
        size = max(known.values()) + 1
        self.is_mark = np.zeros(size, dtype=bool)
        self.is_mark[list(self.marks.values())] = True
        ours = {*self.modes.values(), *self.masks, *self.marks.values(), *tokenizer.all_special_ids}
        ordinary = [place for place in range(size) if place not in ours]
        self.text_ids = torch.tensor(ordinary, device="cpu")  # also where the network is on meta
        self.reader = self._with_prefix(MODES[0])

    def _with_prefix(self, mode: Mode) -> Any:
        """A copy of the tokenizer that encodes a text as `<s> mode </s> text </s>`."""
        tokenizer = copy.deepcopy(self.tokenizer)
        begin, end = tokenizer.cls_token, tokenizer.sep_token
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{begin} {mode} {end} $A {end}",
            special_tokens=[(begin, self.cls), (mode, self.modes[mode]), (end, self.sep)],
        )
        return tokenizer

    def ids_of(self, text: str) -> list[int]:
        """Ids of a text; what looks like a special token in it is text."""
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)[
            "input_ids"
        ]

    def ids_with_masks(self, text: str) -> list[int]:
        """Ids of a text in which "<mask0>" stands for what is to be found.

        One space before it goes with it: in training masks stand for whole tokens, and a token has
        the space before it within it.
        """
        known = self.tokenizer.get_vocab()
        ids: list[int] = []
        for piece, hidden in pairwise([*_HIDDEN.split(text), ""]):
            if piece in known and _HIDDEN.fullmatch(piece):
                ids.append(known[piece])
            else:
                before = hidden in known and _HIDDEN.fullmatch(hidden)
                ids += self.ids_of(piece.removesuffix(" ") if before else piece)
        return ids

    def ids_with_marks(self, text: str, symbols: Iterable[Symbol]) -> list[int]:
        """Ids of a text with the marks of its tree between them.

        A mark that the vocabulary lacks is left out.

        Args:
            text: the source.
            symbols: of its tree, see `flatten`.
        """
        encoded = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
        )
        words, offsets = encoded["input_ids"], encoded["offset_mapping"]
        ids: list[int] = []
        done, end = 0, 0
        for symbol in symbols:
            if isinstance(symbol, Mark):
                if symbol in self.marks:
                    ids.append(self.marks[symbol])
                continue
            end = max(text.find(symbol, end), end) + len(symbol)
            while done < len(words) and offsets[done][0] < end:
                ids.append(words[done])
                done += 1
        return ids + words[done:]

    def without_marks(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """The ids of the text alone."""
        return ids[~self.is_mark[ids]]

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""
        return self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def ends_of_line(self) -> list[int]:
        """Ids of the tokens that hold a line break."""
        return [place for place in self.text_ids.tolist() if "\n" in self.text_of([place])]
