"""Which name of a list does a language model expect next? All of the name counts, and its end.

A decoder gives a name the likelihood of its tokens and of an opening bracket behind them, so
"zeros" is not also right where "zeros_like" stands. Names share beginnings, so they form a tree,
through which a beam search goes for all contexts at once, on the caches of the contexts. An encoder
fills as many masks as a name has tokens; names of different lengths are compared by the mean over
them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrial.evaluate.api_calls import Ranked
from pretrial.models.decoding.cache import DecoderOnly, padded

_TOP_TOKENS = 50  # what transformers' `generate` samples from by default
_SITES_AT_ONCE = 64

Numbers = NDArray[Any]


@dataclass
class _Node:
    """A beginning of names: the tokens that go on, and (name, number of its ending)."""

    children: dict[int, _Node] = field(default_factory=dict)
    ends: list[tuple[str, int]] = field(default_factory=list)


class Names:
    """Names as tokens.

    Attributes:
        names: the names.
        root: of the tree of all names, each without its last token before the bracket's.
        endings: for each kind of ending the ids of tokens that begin with it, such as "(", "()".
        pieces: the ids of each name alone.
        paths: identities of the nodes on the way to each name.
        candidates: those that may be the answer.
    """

    def __init__(self, names: Sequence[str], tokenizer: Any, beside: Sequence[str] = ()) -> None:
        """`beside` are names whose likelihood may be asked for, and which are never the answer."""
        self.candidates = frozenset(names)
        self.names = list(dict.fromkeys([*names, *beside]))
        self.texts = [tokenizer.decode([number]) for number in range(len(tokenizer))]
        self.root = _Node()
        self.endings: list[Numbers] = []
        self.pieces: dict[str, list[int]] = {}
        self.paths: dict[str, frozenset[int]] = {}
        self._numbers: dict[str, int] = {}
        if self.names:
            called = [f"{name}(" for name in self.names]
            whole = tokenizer(called, add_special_tokens=False)["input_ids"]
            alone = tokenizer(self.names, add_special_tokens=False)["input_ids"]
            self.pieces = dict(zip(self.names, alone, strict=True))
            for name, ids in zip(self.names, whole, strict=True):
                self._insert(name, ids)

    def _insert(self, name: str, ids: Sequence[int]) -> None:
        """A name as it is written in code, the last of its tokens holding the bracket."""
        node, path = self.root, []
        for token in ids[:-1]:
            node = node.children.setdefault(token, _Node())
            path.append(id(node))
        self.paths[name] = frozenset(path)
        ending = self.texts[ids[-1]]
        if ending not in self._numbers:
            self._numbers[ending] = len(self.endings)
            begins = [i for i, text in enumerate(self.texts) if text.startswith(ending)]
            self.endings.append(np.array(begins))
        node.ends.append((name, self._numbers[ending]))

    @property
    def depth(self) -> int:
        """Tokens of the longest way through the tree."""

        def below(node: _Node) -> int:
            return 1 + max(map(below, node.children.values()), default=-1)

        return below(self.root)


@dataclass
class _Search:
    """The search at one site: the names found, and the true one, with their log-likelihoods."""

    names: Names
    true: str | None
    true_score: float = -math.inf
    found: dict[str, float] = field(default_factory=dict)

    def take(self, name: str, score: float) -> None:
        """A name that was reached."""
        if name in self.names.candidates:
            self.found[name] = score
        if name == self.true:
            self.true_score = score

    def leads_to_true(self, node: _Node) -> bool:
        """Whether a node is on the way to the true name."""
        return self.true is not None and id(node) in self.names.paths[self.true]

    def least(self, top: int) -> float:
        """What a beginning must be likelier than to matter still."""
        if len(self.found) < top:
            return -math.inf
        return sorted(self.found.values())[-top]


@torch.no_grad()
def rank_decoder(
    model: Any,
    prompts: Sequence[Sequence[int]],
    names: Names,
    true: Sequence[str | None],
    *,
    pad: int,
    top: int,
    width: int,
) -> list[Ranked]:
    """The likeliest names after each prompt.

    Args:
        model: a decoder of transformers, in eval mode.
        prompts: token ids; they end right before the name.
        names: the candidates, and those of `true`.
        true: for each prompt the name whose likelihood is asked for, or None.
        pad: fills the shorter prompts.
        top: names to give.
        width: beginnings of names that are followed at once for each prompt; what is worse is left
            out, except on the way to the true name.
    """
    ranked: list[Ranked] = []
    for start in range(0, len(prompts), _SITES_AT_ONCE):
        part = slice(start, start + _SITES_AT_ONCE)
        ranked += _rank_together(model, prompts[part], names, true[part], pad, top, width)
    return ranked


def _rank_together(
    model: Any,
    prompts: Sequence[Sequence[int]],
    names: Names,
    true: Sequence[str | None],
    pad: int,
    top: int,
    width: int,
) -> list[Ranked]:
    searches = [_Search(names, name) for name in true]
    state = DecoderOnly(model, list(prompts), pad, names.depth)
    rows = [(site, names.root, 0.0) for site in range(len(prompts))]
    first = _log_probs(state.logits)
    logs = first
    while True:
        for row, (site, node, score) in enumerate(rows):
            for name, ending in node.ends:
                end = _log_sum(logs[row, names.endings[ending]])
                searches[site].take(name, score + end)
        parents, rows, tokens = _grow(rows, logs, searches, top, width)
        if not rows:
            break
        state.select(torch.tensor(parents, device=model.device))
        state.feed(torch.tensor(tokens, device=model.device)[:, None])
        logs = _log_probs(state.logits)
    return [_ranked(search, first[site], top) for site, search in enumerate(searches)]


def _grow(
    rows: list[tuple[int, _Node, float]],
    logs: Numbers,
    searches: list[_Search],
    top: int,
    width: int,
) -> tuple[list[int], list[tuple[int, _Node, float]], list[int]]:
    """The beginnings one token longer: rows they come from, themselves, and their last tokens."""
    grown: dict[int, list[tuple[float, int, int, _Node]]] = {}
    for row, (site, node, score) in enumerate(rows):
        if node.children:
            tokens = list(node.children)
            scores = (score + logs[row, tokens]).tolist()
            grown.setdefault(site, []).extend(
                (s, row, token, node.children[token])
                for s, token in zip(scores, tokens, strict=True)
            )
    parents, longer, last = [], [], []
    for site, options in grown.items():
        search = searches[site]
        least = search.least(top)
        options.sort(key=lambda option: -option[0])
        for place, (score, row, token, node) in enumerate(options):
            if (place < width and score > least) or search.leads_to_true(node):
                parents.append(row)
                longer.append((site, node, score))
                last.append(token)
    return parents, longer, last


def _ranked(search: _Search, first: Numbers, top: int) -> Ranked:
    best = sorted(search.found.items(), key=lambda pair: -pair[1])[:top]
    true_nll = token_prob = math.nan
    if search.true is not None:
        true_nll = -search.true_score
        token_prob = _token_prob(first, search.names, search.true)
    return Ranked([name for name, _ in best], [-log for _, log in best], true_nll, token_prob)


def _token_prob(logs: Numbers, names: Names, name: str) -> float:
    """Probability that a token drawn from the likeliest ones is the whole name."""
    count = min(_TOP_TOKENS, len(logs))
    likeliest = np.argpartition(-logs, count - 1)[:count]
    probs = np.exp(logs[likeliest])
    right = [names.texts[token] == name for token in likeliest]
    return float(probs[right].sum() / probs.sum())


@torch.no_grad()
def rank_encoder(
    model: Any,
    prompts: Sequence[Sequence[int]],
    names: Names,
    true: Sequence[str | None],
    *,
    mask: int,
    end: Sequence[int],
    pad: int,
    top: int,
) -> list[Ranked]:
    """The likeliest names in place of masks behind each prompt; see `rank_decoder`.

    Args:
        model: a masked language model of transformers, in eval mode.
        prompts: token ids, the special ones at the beginning included.
        names: the candidates, and those of `true`.
        true: for each prompt the name whose likelihood is asked for, or None.
        mask: id of the mask token.
        end: ids that close a sequence.
        pad: fills the shorter sequences.
        top: names to give.
    """
    lengths: dict[int, list[str]] = {}
    for name in names.names:
        lengths.setdefault(len(names.pieces[name]), []).append(name)
    groups = {n: torch.tensor([names.pieces[x] for x in own]) for n, own in lengths.items()}
    ranked = []
    for start in range(0, len(prompts), _SITES_AT_ONCE):
        part = prompts[start : start + _SITES_AT_ONCE]
        searches = [_Search(names, t) for t in true[start : start + _SITES_AT_ONCE]]
        first = np.empty(0)
        for length, pieces in sorted(groups.items()):
            rows = [[*prompt, *[mask] * length, *end] for prompt in part]
            places = torch.tensor([len(prompt) for prompt in part])[:, None] + torch.arange(length)
            logs = log_probs_at(model, rows, places, pad)  # [sites, length, V]
            if length == 1:
                first = logs[:, 0].cpu().numpy()
            at = torch.arange(length)
            scores = logs[:, at, pieces.to(logs.device)].mean(-1)  # [sites, names]
            for site, values in enumerate(scores.tolist()):
                for name, value in zip(lengths[length], values, strict=True):
                    searches[site].take(name, value)
        if not len(first):  # no name is one token long
            first = np.full((len(part), len(names.texts)), -math.log(len(names.texts)))
        ranked += [_ranked(search, first[site], top) for site, search in enumerate(searches)]
    return ranked


def log_probs_at(model: Any, rows: Sequence[Sequence[int]], places: Tensor, pad: int) -> Tensor:
    """Log-probabilities [rows, N, V] at `places` [rows, N] of token ids."""
    ids = padded(rows, pad, model.device)
    lengths = torch.tensor([len(row) for row in rows], device=model.device)
    attention_mask = torch.arange(ids.shape[1], device=model.device) < lengths[:, None]
    logits = model(input_ids=ids, attention_mask=attention_mask.long()).logits
    rows_at = torch.arange(len(rows), device=model.device)[:, None]
    return logits[rows_at, places.to(model.device)].float().log_softmax(-1)


def _log_probs(logits: Tensor) -> Numbers:
    return logits.float().log_softmax(-1).cpu().numpy()


def _log_sum(logs: Numbers) -> float:
    most = logs.max()
    return float(most + np.log(np.exp(logs - most).sum()))
