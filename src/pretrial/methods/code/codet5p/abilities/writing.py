"""Writing: from a text, a code or an instruction, and completion by the decoder alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from pretrial.evaluate.index import Index
from pretrial.methods.code.codet5p.network.frozen import FrozenDecoder
from pretrial.methods.code.codet5p.network.t5 import (
    CLM,
    TO_CODE,
    TO_TEXT,
    continued,
    starting_with,
    task_ids,
)
from pretrial.models.architectures.seq2seq import generate_texts

_STARTS = {"code": TO_CODE, "text": TO_TEXT}


def written(
    network: Any, tokenizer: Any, source: str, kind: str, max_source: int, how: dict[str, Any]
) -> list[str]:
    """What is written from a source.

    Args:
        network: the T5, or an encoder beside a frozen decoder.
        tokenizer: its tokenizer.
        source: a text, a code or an instruction in its frame.
        kind: "code", "text" or "response".
        max_source: tokens of the source.
        how: options of `seq2seq.generate_texts`.
    """
    if isinstance(network, FrozenDecoder):
        return network.write([source], **how)[0]
    start = network.config.decoder_start_token_id
    if kind in _STARTS:  # section 3.2: the decoder begins with the token of its task
        start = task_ids(tokenizer)[_STARTS[kind]]
    with starting_with(network, start):
        return generate_texts(network, tokenizer, [source], max_source=max_source, **how)[0]


def with_retrieved(
    source: str, index: Index, encode: Callable[[Sequence[str]], Tensor], number: int
) -> tuple[str, list[str]]:
    """A text with the nearest codes behind it, so that the model writes with them in view."""
    _, places = index.search(encode([source]), number)
    codes = [str(index.rows[place]["code"]) for place in places[0]]
    return "\n".join([source, *codes]), codes


def completions(
    network: Any, tokenizer: Any, codes: Sequence[str], *, max_prefix: int, **how: Any
) -> list[list[str]]:
    """Continuations of each code, without the code; the encoder reads nothing but [CLM].

    Args:
        network: the T5.
        tokenizer: its tokenizer.
        codes: what is gone on from.
        max_prefix: of a longer code the last so many tokens are seen.
        how: options of `continued`.
    """
    rows = tokenizer(list(codes), add_special_tokens=False)["input_ids"]
    prefixes = [row[-max_prefix:] for row in rows]
    sources = [[task_ids(tokenizer)[CLM]]] * len(prefixes)
    return continued(network, tokenizer, sources, prefixes, **how)
