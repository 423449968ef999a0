"""Retrieval metrics by hand, BM25, and the retrieval task."""

import numpy as np
import pytest
import torch

from pretrial.errors import UserError
from pretrial.evaluate.retrieval import Search, bm25_scores, ranking_metrics
from pretrial.evaluate.tasks import evaluate


def search(relevant, num_documents, excluded=None):
    return Search(["q"] * len(relevant), ["d"] * num_documents, relevant, excluded)


def test_metrics_equal_a_ranking_worked_out_by_hand():
    # Ranking of the documents: 3, 0, 4, 1, 2; the relevant ones are at ranks 2, 3 and 5.
    scores = np.array([[0.8, 0.3, 0.1, 0.9, 0.5]])
    items = ranking_metrics(scores, search([[0, 4, 2]], 5), k=(1, 3))
    assert items["mrr"] == [0.5]
    assert items["recall@1"] == [0.0]
    assert items["recall@3"] == [pytest.approx(2 / 3)]
    assert items["map@r"] == [pytest.approx((1 / 2 + 2 / 3) / 3)]


def test_a_model_that_scores_all_alike_gains_nothing():
    items = ranking_metrics(np.zeros((1, 10)), search([[0]], 10), k=(9, 10))
    assert items["mrr"] == [0.1]
    assert items["recall@9"] == [0.0]
    assert items["recall@10"] == [1.0]


def test_the_query_itself_is_left_out():
    scores = np.array([[9.0, 1.0, 2.0], [3.0, 9.0, 1.0]])
    items = ranking_metrics(scores, search([[2], [2]], 3, excluded=[0, 1]), k=(1,))
    assert items["mrr"] == [1.0, 0.5]


def test_map_at_r_is_one_only_for_a_perfect_ranking():
    rng = np.random.default_rng(0)
    scores = rng.random((50, 20))
    relevant = [sorted(rng.choice(20, 4, replace=False)) for _ in range(50)]
    perfect = scores.copy()
    for row, places in zip(perfect, relevant, strict=True):
        row[places] += 1
    assert ranking_metrics(perfect, search(relevant, 20))["map@r"] == [1.0] * 50
    assert max(ranking_metrics(scores, search(relevant, 20))["map@r"]) < 1


def test_queries_without_an_answer_are_refused():
    with pytest.raises(UserError, match="query 1"):
        ranking_metrics(np.zeros((2, 3)), search([[0], []], 3))


def test_pairs_share_equal_documents_and_queries():
    rows = [{"q": "a", "d": "x"}, {"q": "b", "d": "y"}, {"q": "a", "d": "y"}, {"q": "c", "d": "x"}]
    made = Search.of_pairs(rows, "q", "d")
    assert made.queries == ["a", "b", "c"]
    assert made.documents == ["x", "y"]
    assert made.relevant == [[0, 1], [1], [0]]
    with pytest.raises(UserError, match="found: q, d"):
        Search.of_pairs(rows, "query", "d")


def test_labels_make_the_others_relevant():
    rows = [{"t": str(i), "l": label} for i, label in enumerate("abaca")]
    made = Search.of_labels(rows, "t", "l")
    assert made.queries == ["0", "2", "4"]
    assert made.relevant == [[2, 4], [0, 4], [0, 2]]
    assert made.excluded == [0, 2, 4]


def test_bm25_finds_parts_of_identifiers_and_weighs_rare_words():
    pytest.importorskip("bm25s")
    documents = [
        "def parseHTTPHeader(line): return line.split(':')",
        "def write_csv_row(line): return ','.join(line)",
        "def return_line(line): return line",
    ]
    queries = ["parse a header", "csv line", "no such words: zzz"]
    scores = bm25_scores(Search(queries, documents, [[0], [1], [2]]))
    assert scores.shape == (3, 3)
    assert scores[0].argmax() == 0
    assert scores[1].argmax() == 1
    assert not scores[2].any()


class Letters:
    """Encodes a text as the counts of its letters."""

    def encode(self, texts):
        return torch.tensor([[float(text.count(c)) for c in "abcdefgh"] for text in texts])


def test_the_task_compares_the_encoder_with_bm25():
    pytest.importorskip("bm25s")
    rows = [{"query": c * 3, "document": c * 5 + "h"} for c in "abcdefg"]
    result = evaluate("retrieval", Letters(), rows, k=(1,), baseline=True)
    assert result.metrics["mrr"].value == 1.0
    assert result.metrics["recall@1"].low == 1.0
    assert result.metrics["bm25 mrr"].value == pytest.approx(1 / 7)
    assert result.notes == {"num_queries": 7, "num_documents": 7}
