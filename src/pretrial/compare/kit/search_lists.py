"""The task that models of search are tried on: which of sixteen codes belongs to a text?

Beside the right code there are fifteen drawn at random from the same modules. Words go far there:
BM25 and TF-IDF, which anybody would try first, have the right one on top in three of four lists. So
a model is asked for what it adds to them. Its scores and theirs are weighed and summed, the
weights are fitted on other modules, and what counts is the negative log-likelihood of the right
code: it moves before the order does. A model that knows no more than words do gets no weight.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrial.compare.trial import Items
from pretrial.errors import require_packages
from pretrial.evaluate.retrieval import Search, bm25_scores, ranking_metrics, subtokens

#: What the measures import beyond the base install.
NEEDED = ("bm25s", "sklearn")
_LENGTH = 16

Score = Callable[["Lists"], Tensor]


@dataclass(frozen=True)
class Lists:
    """Texts, and for each a list of codes to choose from.

    Attributes:
        texts: that are looked for.
        codes: as many; each text has one.
        candidates: places in `codes` of each list, the right one first [N, L].
        words: scores of BM25 and of TF-IDF [2, N, L].
        groups: of each text, such as its module.
    """

    texts: list[str]
    codes: list[str]
    candidates: NDArray[np.int64]
    words: Tensor
    groups: list[Hashable]

    def listed(self, scores: NDArray[np.float64]) -> Tensor:
        """Of the scores of all texts and codes [N, N] those of the lists [N, L]."""
        return torch.from_numpy(np.take_along_axis(scores, self.candidates, axis=1)).double()


def lists_of(rows: Sequence[Mapping[str, str]], known: Sequence[Mapping[str, str]]) -> Lists:
    """Lists of rows with `text`, `code` and `module`; the same ones each time.

    Args:
        rows: to look for; there must be sixteen or more.
        known: rows that TF-IDF counts its words in.
    """
    require_packages(*NEEDED)
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, codes = [row["text"] for row in rows], [row["code"] for row in rows]
    rng, places = np.random.default_rng(0), np.arange(len(rows))
    candidates = np.stack(
        [
            [place, *rng.choice(np.delete(places, place), _LENGTH - 1, replace=False)]
            for place in places
        ]
    )
    made = TfidfVectorizer(analyzer=subtokens, sublinear_tf=True)
    made.fit([f"{row['text']}\n{row['code']}" for row in known])
    cosines = (made.transform(texts) @ made.transform(codes).T).toarray()
    bm25 = bm25_scores(Search(texts, codes, [[place] for place in places.tolist()]))
    lists = Lists(texts, codes, candidates, torch.empty(0), [row["module"] for row in rows])
    words = torch.stack([lists.listed(bm25), lists.listed(cosines)])
    return Lists(texts, codes, candidates, words, lists.groups)


def measure(score: Score | None, halves: Sequence[Lists]) -> dict[str, Items]:
    """How well the right code is told, by the words' scores and those of a model.

    Args:
        score: gives scores [F, N, L] of lists, higher is nearer; None for words alone.
        halves: lists to fit the weights on, and lists to test on.

    Returns:
        "search_nll" in nats and "search_mrr", the mean of 1 / rank; and, of a model without the
        words, "own_nll" and "own_mrr".
    """
    groups = halves[1].groups
    if score is None:
        return _measured("search", [half.words for half in halves], groups)
    own = [score(half).double().cpu() for half in halves]
    both = [torch.cat([half.words, each]) for half, each in zip(halves, own, strict=True)]
    return {**_measured("search", both, groups), **_measured("own", own, groups)}


def _measured(name: str, sides: Sequence[Tensor], groups: Sequence[Hashable]) -> dict[str, Items]:
    """Metrics of scores [F, N, L] summed with weights that are fitted on the first side."""
    learn, test = sides
    sums = torch.einsum("f,fnl->nl", _fitted(learn), test)
    nll = -sums.log_softmax(1)[:, 0]
    search = Search([""] * len(sums), [""] * _LENGTH, [[0]] * len(sums))
    ranks = ranking_metrics(sums.numpy(), search)["mrr"]
    return {f"{name}_nll": Items(nll.tolist(), groups), f"{name}_mrr": Items(ranks, groups)}


def _fitted(scores: Tensor) -> Tensor:
    """The weights [F] of scores [F, N, L] with the least loss; the right codes come first."""
    spread = scores.std((1, 2), keepdim=True).clamp(min=1e-6)  # so that no step is far too long
    weights = torch.zeros(len(scores), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        sums = torch.einsum("f,fnl->nl", weights, scores / spread)
        value = -sums.log_softmax(1)[:, 0].mean()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(loss)
    return weights.detach() / spread[:, 0, 0]
