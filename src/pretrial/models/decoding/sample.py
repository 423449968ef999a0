"""Many continuations of many prompts, decoded together.

`model.generate(num_return_sequences=n)` called prompt by prompt steps `n` rows at a time, until the
last of them ends. Here the rows of many prompts share every step: a prompt is read once and its
cache is expanded to its samples, rows that end leave the batch, and the next token of all rows is
drawn with one set of tensor operations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pretrial.errors import UserError
from pretrial.models.decoding.cache import DecoderOnly, EncoderDecoder, PrefixDecoder, padded
from pretrial.models.decoding.sharing import sharing_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Ended rows stay in the batch until they are this share of it: copying the cache costs about as
# much as a few steps of these rows.
_COMPACT_RATIO = 0.25
_FIRST_TOP_K = 32


@dataclass
class _Row:
    """The sample at `place` in the making; the first `num_forced` of its `ids` are its prefix."""

    prompt: int
    place: int
    ids: list[int]
    num_forced: int
    ended: bool = False


@dataclass(frozen=True)
class _Rules:
    """How the next token is drawn and when a row ends."""

    limit: int
    eos: frozenset[int]
    temperature: float
    top_p: float
    top_k: int
    greedy: bool
    finished: Callable[[list[int]], bool] | None

    def take(self, row: _Row, position: int, token: int) -> None:
        """Gives `row` the token drawn for `position`, unless its prefix reaches that far."""
        if position < row.num_forced:
            return
        if token in self.eos:
            row.ended = True
            return
        row.ids.append(token)
        row.ended = len(row.ids) >= self.limit or (
            self.finished is not None and self.finished(row.ids)
        )


@torch.no_grad()
def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    num_samples: int | Sequence[int],
    max_new_tokens: int,
    eos_token_id: int | Collection[int] | None,
    pad_token_id: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    greedy: bool = False,
    prefixes: Sequence[Sequence[Sequence[int]]] | None = None,
    generator: torch.Generator | None = None,
    draws: Tensor | None = None,
    batch_size: int = 256,
    finished: Callable[[list[int]], bool] | None = None,
) -> list[list[list[int]]]:
    """Draws samples from an encoder-decoder or decoder-only model of transformers.

    The draws of a row come from `generator` before its batch starts, one uniform number a position,
    in an order that does not depend on `batch_size`. A sample therefore depends on the batch it was
    decoded in only by floating-point noise. The model is in eval mode meanwhile and gets its modes
    back.

    Args:
        model: a transformers model with a language-modelling head.
        prompts: token ids; for an encoder-decoder model the encoder's input, else what the samples
            continue.
        num_samples: samples of each prompt, one number for all or one a prompt.
        max_new_tokens: longest sample, its prefix included.
        eos_token_id: the token, or any of the tokens, that end a sample; None for none.
        pad_token_id: fills the shorter prompts; masked out, so its value is of no consequence.
        temperature: divides the logits.
        top_p: mass of the nucleus: tokens are drawn from the smallest set of most probable tokens
            that holds at least so much; 1 draws from all tokens.
        top_k: so many most probable tokens are drawn from; 0 leaves out none.
        greedy: take the most probable token; needs no generator.
        prefixes: for each prompt, for each of its samples, the ids that the sample must begin with.
        generator: source of all randomness, on the CPU wherever the model is.
        draws: instead of a generator, the numbers in [0, 1) that each sample in turn is drawn with
            [samples, max_new_tokens]: what is drawn for a prompt then does not depend on others.
        batch_size: rows decoded at once.
        finished: told a row's ids after each drawn token; True ends the row (see `StopTexts`).

    Returns:
        For each prompt its samples as token ids, prefix included, end token not included.

    Raises:
        UserError: options out of range or not of the prompts' number, an empty prompt, or a prompt
            too long for the model's positions.
    """
    counts = [num_samples] * len(prompts) if isinstance(num_samples, int) else list(num_samples)
    eos = {eos_token_id} if isinstance(eos_token_id, int) else set(eos_token_id or ())
    rules = _Rules(max_new_tokens, frozenset(eos), temperature, top_p, top_k, greedy, finished)
    _check(model, prompts, counts, prefixes, draws if draws is not None else generator, rules)
    rows: list[_Row] = []
    for i, count in enumerate(counts):
        for prefix in prefixes[i] if prefixes is not None else [()] * count:
            rows.append(_Row(i, len(rows), list(prefix), len(prefix)))
    # Like lengths go together: less padding, longer stretches of prefix fed at once.
    open_rows = sorted(
        (row for row in rows if row.num_forced < max_new_tokens),
        key=lambda row: (row.num_forced, len(prompts[row.prompt])),
    )
    with _eval_mode(model), sharing_attention(model):
        for start in range(0, len(open_rows), batch_size):
            batch = open_rows[start : start + batch_size]
            noise = None
            if draws is not None:
                noise = draws[[row.place for row in batch]]
            elif not greedy:
                noise = torch.rand(len(batch), max_new_tokens, generator=generator)
            _decode(model, prompts, batch, noise, pad_token_id, rules)
    samples: list[list[list[int]]] = [[] for _ in prompts]
    for row in rows:
        samples[row.prompt].append(row.ids)
    return samples


def _check(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    counts: list[int],
    prefixes: Sequence[Sequence[Sequence[int]]] | None,
    generator: torch.Generator | Tensor | None,
    rules: _Rules,
) -> None:
    """Raises UserError where `sample` was asked for what it cannot do."""
    if len(counts) != len(prompts):
        raise UserError(f"give num_samples as one number or {len(prompts)}, one for each prompt")
    if prefixes is not None and [len(group) for group in prefixes] != counts:
        raise UserError("give one prefix for each sample of each prompt, an empty one for none")
    if not all(prompts):
        raise UserError("a prompt needs at least one token; begin it with the model's start token")
    if rules.limit < 1:
        raise UserError(f"max_new_tokens is at least 1, not {rules.limit}")
    if not rules.greedy and generator is None:
        raise UserError("give a torch.Generator to sample, or greedy=True")
    if not rules.temperature > 0:
        raise UserError(f"temperature is above 0, not {rules.temperature}; or give greedy=True")
    if not 0 < rules.top_p <= 1:
        raise UserError(f"top_p is above 0 and at most 1, not {rules.top_p}")
    room = getattr(model.config, "max_position_embeddings", None)
    longest = max(map(len, prompts), default=0)
    if not model.config.is_encoder_decoder and room and longest + rules.limit > room:
        raise UserError(
            f"a prompt of {longest} tokens and {rules.limit} new ones do not fit into the model's"
            f" {room} positions; shorten the prompts or max_new_tokens"
        )


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, every submodule's own mode again afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _decode(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    rows: list[_Row],
    noise: Tensor | None,
    pad_token_id: int,
    rules: _Rules,
) -> None:
    """Fills the `ids` of the rows of one batch; noise [rows, positions] in [0, 1)."""
    used = sorted({row.prompt for row in rows})
    kind: type[EncoderDecoder | DecoderOnly] = DecoderOnly
    if model.config.is_encoder_decoder:
        kind = EncoderDecoder
    elif getattr(model.config, "attention_pattern", "causal") == "prefix":
        kind = PrefixDecoder
    state = kind(model, [prompts[i] for i in used], pad_token_id, rules.limit)
    place = {prompt: position for position, prompt in enumerate(used)}
    logits = state.select(torch.tensor([place[row.prompt] for row in rows], device=model.device))

    forced = padded([row.ids for row in rows], -1, model.device)  # [rows, longest prefix]
    shared = min(row.num_forced for row in rows)
    if shared:
        logits = state.feed(forced[:, :shared])
    if noise is not None:
        noise = noise.to(model.device)
    for position in range(shared, rules.limit):
        tokens = _draw(logits, None if noise is None else noise[:, position], rules)
        if position < forced.shape[1]:
            tokens = torch.where(forced[:, position] >= 0, forced[:, position], tokens)
        for row, token in zip(rows, tokens.tolist(), strict=True):
            if not row.ended:
                rules.take(row, position, token)
        alive = [slot for slot, row in enumerate(rows) if not row.ended]
        if not alive:
            break
        if len(alive) <= (1 - _COMPACT_RATIO) * len(rows):
            index = torch.tensor(alive, device=model.device)
            rows = [rows[slot] for slot in alive]
            tokens, forced = tokens[index], forced[index]
            noise = None if noise is None else noise[index]
            state.select(index)
        logits = state.feed(tokens[:, None])


def _draw(logits: Tensor, noise: Tensor | None, rules: _Rules) -> Tensor:
    """The next token of every row: [rows, vocabulary] and [rows] in [0, 1) give [rows].

    The noise is put through the inverse of the nucleus' cumulative distribution.
    """
    if noise is None:
        return logits.argmax(-1)
    logits = logits.float() / rules.temperature
    if 0 < rules.top_k < logits.shape[1]:
        least = logits.topk(rules.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    probs = logits.softmax(-1)
    if rules.top_p == 1:
        mass = probs.cumsum(-1, dtype=torch.float64)
        return _invert(mass, noise * mass[:, -1])
    return _nucleus(probs, noise, rules.top_p, _FIRST_TOP_K)


def _nucleus(probs: Tensor, noise: Tensor, top_p: float, k: int) -> Tensor:
    """Draws from the nucleus, looked for among the k most probable tokens, then among more.

    Sorting the whole of a large vocabulary costs more than a small model's forward pass, and the
    nucleus of a trained model mostly holds a handful of tokens.
    """
    k = min(k, probs.shape[1])
    top, ids = probs.topk(k)
    mass = top.cumsum(-1, dtype=torch.float64)
    outside = mass - top >= top_p  # True where the more probable tokens are enough
    total = mass.masked_fill(outside, 0).amax(-1)
    tokens = ids.gather(1, _invert(mass, noise * total)[:, None])[:, 0]
    wider = mass[:, -1] < top_p  # True where the nucleus goes on
    if k < probs.shape[1] and bool(wider.any()):
        tokens[wider] = _nucleus(probs[wider], noise[wider], top_p, 8 * k)
    return tokens


def _invert(mass: Tensor, level: Tensor) -> Tensor:
    """First index of each row whose cumulative mass [rows, tokens] is above its level [rows]."""
    index = torch.searchsorted(mass, level[:, None], right=True)[:, 0]
    return index.clamp(max=mass.shape[1] - 1)
