"""Writing: from a text, a code or an instruction, and completion by the decoder alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from pretrial.errors import UserError
from pretrial.evaluate.index import Index
from pretrial.methods.code.codet5p.network import CLM, TO_CODE, TO_TEXT, starting_with, task_ids
from pretrial.methods.code.codet5p.reading import Example, asked_of
from pretrial.methods.code.codet5p.retrieval import whole
from pretrial.models.architectures.seq2seq import generate_texts
from pretrial.models.decoding.sample import sample

if TYPE_CHECKING:
    from pretrial.methods.code.codet5p import CodeT5p

_AT_ONCE = 64
_STARTS = {"code": TO_CODE, "text": TO_TEXT}


def written(
    method: CodeT5p,
    examples: Sequence[Example],
    to: str,
    found: tuple[list[dict[str, Any]], Index] | None,
    num_retrieved: int,
    how: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """What is written for each example.

    Args:
        method: writes.
        examples: what it writes from.
        to: "code", "text", or "auto" for what an example lacks.
        found: the rows of a corpus and the index of their codes, of which the nearest are put
            behind a text; None for none.
        num_retrieved: how many.
        how: of the decoding.
    """
    for number, example in enumerate(examples):
        kind, source = asked_of(example, to, number)
        answer: dict[str, Any] = {"source": source, "to": kind}
        if found is not None and kind == "code":
            rows, index = found
            _, places = index.search(method.encode([source]), num_retrieved)
            answer["retrieved"] = [rows[place]["code"] for place in places[0]]
            source = "\n".join([source, *answer["retrieved"]])
        if method.beside is not None:
            yield answer | {"written": method.beside.write([source], **how)[0]}
            continue
        network, tokenizer = method.network, method.tokenizer
        start = network.config.decoder_start_token_id
        if kind in _STARTS:
            start = task_ids(tokenizer)[_STARTS[kind]]
        longest = method.config.max_text + method.config.max_code
        with starting_with(network, start):
            texts = generate_texts(network, tokenizer, [source], max_source=longest, **how)
        yield answer | {"written": texts[0]}


def completed(
    method: CodeT5p, examples: Sequence[Example], how: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Continuations of each example's code by the decoder alone.

    Raises:
        UserError: an example has no code, or several continuations are wanted without sampling.
    """
    whole(method, "complete")
    for number, example in enumerate(examples):
        if not example.code:
            raise UserError(f"row {number} has no 'code' to go on from")
    if how["num_samples"] > 1 and not how["temperature"]:
        raise UserError(f"{how['num_samples']} continuations need a temperature above 0")
    network, tokenizer, longest = method.network, method.tokenizer, method.config.max_code
    for start in range(0, len(examples), _AT_ONCE):
        part = examples[start : start + _AT_ONCE]
        codes = [example.code for example in part]
        options = how | {"seed": how["seed"] + start}
        texts = completions(network, tokenizer, codes, max_prefix=longest, **options)
        for code, group in zip(codes, texts, strict=True):
            yield {"code": code, "completions": group}


@torch.no_grad()
def completions(
    network: Any,
    tokenizer: Any,
    codes: Sequence[str],
    *,
    max_prefix: int,
    max_new_tokens: int,
    num_samples: int = 1,
    temperature: float = 0.0,
    top_p: float = 0.95,
    seed: int = 0,
) -> list[list[str]]:
    """Continuations of each code; the encoder reads nothing but [CLM].

    Args:
        network: the network.
        tokenizer: its tokenizer.
        codes: what is gone on from.
        max_prefix: of a longer code the last so many tokens are seen.
        max_new_tokens: longest continuation, in tokens.
        num_samples: continuations a code.
        temperature: of sampling; 0 takes the most probable token each time.
        top_p: of nucleus sampling.
        seed: of sampling.

    Returns:
        `num_samples` continuations a code, without the code.
    """
    ids = tokenizer(list(codes), add_special_tokens=False)["input_ids"]
    prefixes = [row[-max_prefix:] for row in ids]
    clm_id = task_ids(tokenizer)[CLM]
    rows = sample(
        network,
        [[clm_id]] * len(prefixes),
        num_samples=num_samples,
        max_new_tokens=max(map(len, prefixes)) + max_new_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        temperature=temperature or 1.0,
        top_p=top_p,
        greedy=not temperature,
        prefixes=[[prefix] * num_samples for prefix in prefixes],
        generator=torch.Generator().manual_seed(seed),
    )
    return [
        [
            tokenizer.decode(
                row[len(prefix) : len(prefix) + max_new_tokens], skip_special_tokens=True
            )
            for row in group
        ]
        for prefix, group in zip(prefixes, rows, strict=True)
    ]
