"""Search: MRR, Recall@k and MAP@R of an encoder, with BM25 as the baseline."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.errors import UserError, missing_package
from pretrial.evaluate.perplexity import texts_of
from pretrial.evaluate.result import Result

Scores = NDArray[np.float64]
# Parts of identifiers: "parseHTTPHeader" and "parse_http_header" give the same three words.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")


@dataclass(frozen=True)
class Search:
    """Queries, documents, and which documents answer which query.

    Attributes:
        queries: Q texts.
        documents: N texts.
        relevant: for each query the places of its documents, at least one.
        excluded: for each query the place of a document that is left out of its ranking (itself,
            where queries are documents), or None for none.
    """

    queries: Sequence[str]
    documents: Sequence[str]
    relevant: Sequence[Sequence[int]]
    excluded: Sequence[int] | None = None

    @classmethod
    def of_pairs(cls, rows: Sequence[Any], query: str, document: str) -> Search:
        """Each row's query is answered by its own document, and by equal ones of other rows."""
        documents = list(dict.fromkeys(texts_of(row, document) for row in rows))
        place = {text: i for i, text in enumerate(documents)}
        answers: dict[str, list[int]] = {}
        for row in rows:
            answers.setdefault(texts_of(row, query), []).append(place[row[document]])
        return cls(list(answers), documents, [sorted(set(each)) for each in answers.values()])

    @classmethod
    def of_labels(cls, rows: Sequence[Any], text: str, label: str) -> Search:
        """Each text is answered by the others with its label; labels met once are left out."""
        groups: dict[Any, list[int]] = {}
        for i, row in enumerate(rows):
            groups.setdefault(row[label], []).append(i)
        texts = [texts_of(row, text) for row in rows]
        asked = [i for i, row in enumerate(rows) if len(groups[row[label]]) > 1]
        relevant = [[j for j in groups[rows[i][label]] if j != i] for i in asked]
        return cls([texts[i] for i in asked], texts, relevant, asked)


def ranking_metrics(
    scores: Scores, search: Search, k: Sequence[int] = (1, 10)
) -> dict[str, list[float]]:
    """Metrics of each query.

    A relevant document ranks below all others with its score, so that a model which gives every
    document the same score gains nothing by it.

    Args:
        scores: [queries, documents], higher is nearer.
        search: what answers what.
        k: of Recall@k, the share of a query's relevant documents among its first k.

    Returns:
        "mrr": 1 / rank of the first relevant document. "recall@k". "map@r": with R relevant
        documents, the mean over the first R places of the precision there where the document is
        relevant and 0 where it is not (Musgrave et al. 2020, arXiv 2003.08505, section 3.2).

    Raises:
        UserError: a query has no relevant document.
    """
    items: dict[str, list[float]] = {"mrr": [], "map@r": [], **{f"recall@{size}": [] for size in k}}
    for query, row in enumerate(scores):
        relevance = np.zeros(len(row), dtype=bool)
        relevance[list(search.relevant[query])] = True
        if not relevance.any():
            raise UserError(f"query {query} has no relevant document; leave such queries out")
        row = row.astype(np.float64, copy=True)
        if search.excluded is not None:
            row[search.excluded[query]] = -np.inf
        hits = relevance[np.lexsort((relevance, -row))]  # True at the ranks of relevant documents
        ranks = np.flatnonzero(hits) + 1
        num_relevant = len(ranks)
        precisions = np.arange(1, num_relevant + 1) / ranks
        items["mrr"].append(1 / ranks[0])
        items["map@r"].append(precisions[ranks <= num_relevant].sum() / num_relevant)
        for size in k:
            items[f"recall@{size}"].append((ranks <= size).sum() / num_relevant)
    return {name: [float(value) for value in values] for name, values in items.items()}


def bm25_scores(search: Search) -> Scores:
    """Scores of BM25 (Lucene's form, k1 1.5, b 0.75) on words and the parts of identifiers.

    Raises:
        UserError: bm25s is not installed.
    """
    try:
        import bm25s
    except ImportError:
        raise missing_package("bm25s", "text") from None

    index = bm25s.BM25()
    index.index([subtokens(text) for text in search.documents], show_progress=False)
    rows = []
    for text in search.queries:
        query = [word for word in subtokens(text) if word in index.vocab_dict]
        rows.append(index.get_scores(query) if query else np.zeros(len(search.documents)))
    return np.asarray(rows, dtype=np.float64)


def subtokens(text: str) -> list[str]:
    """The parts of words and names in a text, in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def measure_retrieval(
    method: Any,
    data: Sequence[Any] | Search,
    *,
    query: str = "query",
    document: str = "document",
    k: tuple[int, ...] = (1, 10),
    baseline: bool = False,
    seed: int = 0,
) -> Result:
    """Retrieval by cosine similarity.

    Args:
        method: with the ability `encode(texts) -> Tensor [N, d]`.
        data: a `Search`, or rows that pair a query with its document.
        query: name of the query's field.
        document: name of the document's field.
        k: of Recall@k.
        baseline: measure BM25 as well, as "bm25 mrr" and so on.
        seed: of the bootstrap.

    Raises:
        UserError: a field is missing, or bm25s is not installed.
    """
    search = data if isinstance(data, Search) else Search.of_pairs(data, query, document)
    left, right = (_unit(method.encode(texts)) for texts in (search.queries, search.documents))
    items = ranking_metrics(left @ right.T, search, k)
    if baseline:
        lexical = ranking_metrics(bm25_scores(search), search, k)
        items |= {f"bm25 {name}": values for name, values in lexical.items()}
    notes = {"num_queries": len(search.queries), "num_documents": len(search.documents)}
    return Result.of_items(items, notes, seed)


def _unit(vectors: Any) -> Scores:
    """[N, d] rows of length 1; a row of zeros stays one."""
    rows = np.asarray(vectors.detach().cpu().float(), dtype=np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
