"""Search: MRR, Recall@k and MAP@R of an encoder, with BM25 as the baseline.

Queries and documents may be of any modality that the encoder reads, and need not be of the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.data.labels import labelled
from pretrial.errors import UserError, require_packages
from pretrial.evaluate.examples import examples_of, values_of
from pretrial.evaluate.labelled import left_out
from pretrial.evaluate.result import Result

Scores = NDArray[np.float64]
# Parts of identifiers: "parseHTTPHeader" and "parse_http_header" give the same three words.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")


@dataclass(frozen=True)
class Search:
    """Queries, documents, and which documents answer which query.

    Attributes:
        queries: Q texts, or whatever else is encoded.
        documents: N of them.
        relevant: for each query the places of its documents, at least one.
        excluded: for each query the place of a document that is left out of its ranking (itself,
            where queries are documents), or None for none.
    """

    queries: Sequence[Any]
    documents: Sequence[Any]
    relevant: Sequence[Sequence[int]]
    excluded: Sequence[int] | None = None

    @classmethod
    def of_pairs(cls, rows: Sequence[Any], query: str, document: str) -> Search:
        """Each row's query is answered by its own document, and by equal ones of other rows."""
        documents: dict[Any, Any] = {}
        queries: dict[Any, Any] = {}
        answers: dict[Any, list[Any]] = {}
        for asked, answer in zip(values_of(rows, query), values_of(rows, document), strict=True):
            documents.setdefault(_key(answer), answer)
            queries.setdefault(_key(asked), asked)
            answers.setdefault(_key(asked), []).append(_key(answer))
        place = {key: i for i, key in enumerate(documents)}
        relevant = [sorted({place[key] for key in keys}) for keys in answers.values()]
        return cls(list(queries.values()), list(documents.values()), relevant)

    @classmethod
    def of_labels(cls, rows: Sequence[Any], text: str, label: str) -> Search:
        """Each text is answered by the others with its label; labels met once are left out."""
        known, labels = labelled(rows, label)
        return cls.alike(values_of(known, text), labels)

    @classmethod
    def alike(cls, items: Sequence[Any], labels: Sequence[Any]) -> Search:
        """Each item is answered by the others with its label; labels met once are left out."""
        groups: dict[Any, list[int]] = {}
        for i, label in enumerate(labels):
            groups.setdefault(label, []).append(i)
        queries = [i for i, label in enumerate(labels) if len(groups[label]) > 1]
        relevant = [[j for j in groups[labels[i]] if j != i] for i in queries]
        return cls([items[i] for i in queries], items, relevant, queries)


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
        UserError: bm25s is not installed, or there is something else than texts.
    """
    if not all(isinstance(each, str) for each in (*search.queries, *search.documents)):
        raise UserError("BM25 searches texts alone: leave the option baseline out")
    require_packages("bm25s")
    import bm25s

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
    label: str = "",
    k: tuple[int, ...] = (1, 10),
    baseline: bool = False,
    seed: int = 0,
) -> Result:
    """Retrieval by cosine similarity.

    Args:
        method: with the ability `encode(examples) -> Tensor [N, d]`.
        data: rows that pair a query with its document, each of them of a modality that the method
            reads; rows with labels; or a `Search` of what is encoded as it is.
        query: name of the query's field; see `examples.examples_of`.
        document: name of the document's field.
        label: name of a label's field: then each row is a query, answered by the other rows with
            its label, and `query` and `document` are not looked at; rows without a label are
            left out, and counted in the notes.
        k: of Recall@k.
        baseline: measure BM25 as well, as "bm25 mrr" and so on.
        seed: of the bootstrap.

    Raises:
        UserError: a field is missing, no two rows have the same label, or bm25s is not installed.
    """
    if baseline:
        require_packages("bm25s")  # before the vectors are made
    without: dict[str, int] = {}
    if isinstance(data, Search):
        search, encoded = data, (data.queries, data.documents)
    elif label:
        known, labels = labelled(data, label)
        without = left_out(len(data), len(known))
        search = Search.alike(examples_of(method, known), labels)
        encoded = search.queries, search.documents
    else:
        search = Search.of_pairs(data, query, document)
        encoded = (
            examples_of(method, [{query: each} for each in search.queries], query),
            examples_of(method, [{document: each} for each in search.documents], document),
        )
    if not search.queries:
        raise UserError("no query has a document: give rows, or a label that several rows share")
    left, right = (_unit(method.encode(examples)) for examples in encoded)
    items = ranking_metrics(left @ right.T, search, k)
    if baseline:
        lexical = ranking_metrics(bm25_scores(search), search, k)
        items |= {f"bm25 {name}": values for name, values in lexical.items()}
    notes = {"num_queries": len(search.queries), "num_documents": len(search.documents)}
    notes |= without
    return Result.of_items(items, notes, seed)


def _key(content: Any) -> Any:
    """Stands for what a field holds where it is looked for: a text, an image, a recording."""
    if hasattr(content, "tobytes"):  # an array, or an image of Pillow
        return type(content).__name__, str(getattr(content, "shape", "")), content.tobytes()
    if isinstance(content, Mapping):
        return tuple((name, _key(value)) for name, value in content.items())
    if isinstance(content, list | tuple):
        return tuple(_key(each) for each in content)
    return content


def _unit(vectors: Any) -> Scores:
    """[N, d] rows of length 1; a row of zeros stays one."""
    rows = np.asarray(vectors.detach().cpu().float(), dtype=np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
