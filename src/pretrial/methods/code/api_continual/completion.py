"""Completing code at a call: names ranked by likelihood, usages written token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from transformers import TopPLogitsWarper

from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.evaluate.api_calls import Ranked, Site, closed
from pretrial.methods.code.api_continual.networks import num_positions, text_ids
from pretrial.methods.code.api_continual.ranking import (
    Names,
    log_probs_at,
    rank_decoder,
    rank_encoder,
)
from pretrial.models.decoding.sample import sample

if TYPE_CHECKING:
    from pretrial.methods.code.api_continual.model import APIContinual

_CHARACTERS = 8  # of a context are read for each token that there is room for


def rank_calls(
    method: APIContinual, contexts: Sequence[str], true: Sequence[str], top: int
) -> list[Ranked]:
    """For each context the likeliest names, and how likely the true one is, if they are given."""
    if not method.names:
        raise UserError(
            "the model knows no names to choose from, as its training data had no call sites such"
            " as np.zeros(3): train it on code that has some"
        )
    tokenizer, network = method.tokenizer, method.network
    names = Names(method.names, tokenizer, beside=true)
    longest = max(map(len, names.pieces.values())) + 2
    prompts = _prompts(method, contexts, longest)
    wanted: list[str | None] = list(true) if true else [None] * len(contexts)
    pad = tokenizer.pad_token_id
    was_training = network.training
    network.eval()
    try:
        if method.config.architecture == "encoder":
            return rank_encoder(
                network,
                prompts,
                names,
                wanted,
                mask=tokenizer.mask_token_id,
                end=[tokenizer.sep_token_id],
                pad=pad,
                top=top,
            )
        width = max(method.config.beam_width, top)
        return rank_decoder(network, prompts, names, wanted, pad=pad, top=top, width=width)
    finally:
        network.train(was_training)


@torch.no_grad()
def call_loss(method: APIContinual, sites: Sequence[Site]) -> float:
    """Mean cross-entropy of the tokens of the names at call sites; what early stopping watches."""
    tokenizer, encoder = method.tokenizer, method.config.architecture == "encoder"
    pieces = text_ids(tokenizer, [site.name for site in sites])
    longest = max(map(len, pieces))
    prompts = _prompts(method, [site.context for site in sites], longest + 1)
    total = 0.0
    for start in range(0, len(sites), method.config.batch_size):
        part = slice(start, start + method.config.batch_size)
        rows, places, targets = [], [], []
        for prompt, piece in zip(prompts[part], pieces[part], strict=True):
            if encoder:
                masks = [tokenizer.mask_token_id] * len(piece)
                rows.append([*prompt, *masks, tokenizer.sep_token_id])
            else:
                rows.append([*prompt, *piece])
            first = len(prompt) - (0 if encoder else 1)
            fill = longest - len(piece)
            places.append([*range(first, first + len(piece)), *[0] * fill])
            targets.append([*piece, *[IGNORE] * fill])
        logs = log_probs_at(method.network, rows, torch.tensor(places), tokenizer.pad_token_id)
        wanted = torch.tensor(targets, device=logs.device).flatten()
        total += float(F.nll_loss(logs.flatten(0, 1), wanted, ignore_index=IGNORE, reduction="sum"))
    return total / sum(map(len, pieces))


def write_usages(
    method: APIContinual,
    contexts: Sequence[str],
    max_new_tokens: int,
    *,
    temperature: float,
    top_p: float,
    seed: int,
) -> list[str]:
    """For each context a call with its arguments, cut behind the bracket that closes it."""
    room = num_positions(method.network)
    if not 1 <= max_new_tokens < room - 1:
        raise UserError(f"max_new_tokens is at least 1 and below {room - 1}, not {max_new_tokens}")
    if temperature < 0:
        raise UserError(f"temperature is at least 0, not {temperature}; 0 takes the likeliest")
    tokenizer = method.tokenizer
    prompts = _prompts(method, contexts, max_new_tokens + 1)
    generator = torch.Generator().manual_seed(seed)

    def finished(ids: list[int]) -> bool:
        text = tokenizer.decode(ids) + "\n"
        return closed(text) != text  # something stands behind the bracket that closes the call

    how: dict[str, Any] = {
        "temperature": temperature or 1.0,
        "top_p": top_p,
        "greedy": temperature == 0,
        "generator": generator,
    }
    if method.config.architecture == "encoder":
        rows = _fill(method, prompts, max_new_tokens, finished, **how)
    else:
        found = sample(
            method.network,
            prompts,
            num_samples=1,
            max_new_tokens=max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            finished=finished,
            **how,
        )
        rows = [ids[0] for ids in found]
    return [closed(tokenizer.decode(ids)).strip() for ids in rows]


@torch.no_grad()
def _fill(
    method: APIContinual,
    prompts: Sequence[Sequence[int]],
    limit: int,
    finished: Callable[[list[int]], bool],
    *,
    temperature: float,
    top_p: float,
    greedy: bool,
    generator: torch.Generator,
) -> list[list[int]]:
    """What an encoder writes behind each prompt, one mask after the other."""
    tokenizer = method.tokenizer
    warp = TopPLogitsWarper(top_p) if top_p < 1 else None
    never = [i for i in tokenizer.all_special_ids if i != tokenizer.sep_token_id]
    rows: list[list[int]] = []
    for prompt in prompts:
        ids: list[int] = []
        while len(ids) < limit and not (ids and finished(ids)):
            row = [*prompt, *ids, tokenizer.mask_token_id, tokenizer.sep_token_id]
            place = torch.tensor([[len(prompt) + len(ids)]])
            logs = log_probs_at(method.network, [row], place, tokenizer.pad_token_id)[0]
            logs[:, never] = -torch.inf
            if greedy:
                token = int(logs.argmax())
            else:
                scaled = logs.cpu() / temperature
                scaled = warp(torch.empty(0), scaled) if warp else scaled
                token = int(torch.multinomial(scaled.softmax(-1), 1, generator=generator))
            if token == tokenizer.sep_token_id:
                break
            ids.append(token)
        rows.append(ids)
    return rows


def _prompts(method: APIContinual, contexts: Sequence[str], reserve: int) -> list[list[int]]:
    """Token ids of the ends of the contexts, with room for `reserve` more."""
    tokenizer = method.tokenizer
    room = min(method.config.max_length, num_positions(method.network) - reserve)
    texts = [context[-_CHARACTERS * room :] for context in contexts]
    ids = text_ids(tokenizer, texts)
    if method.config.architecture == "encoder":
        return [[tokenizer.cls_token_id, *own[max(0, len(own) - room + 1) :]] for own in ids]
    return [[tokenizer.eos_token_id, *own][-room:] for own in ids]
