"""Text metrics: known values, agreement with slower definitions, the task."""

import itertools
import math
import random

import pytest

from pretrial.errors import UserError
from pretrial.evaluate.generation import (
    edit_distance,
    edit_similarity,
    exact_match,
    sentence_bleu,
    subtoken_f1,
    text_metrics,
)
from pretrial.evaluate.tasks import evaluate, tasks_for


def slow_distance(one, other):
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
    return row[-1]


def test_edit_distance_is_that_of_the_table():
    rng = random.Random(0)
    for _ in range(300):
        one, other = ("".join(rng.choices("abc", k=rng.randrange(12))) for _ in range(2))
        assert edit_distance(one, other) == slow_distance(one, other)
    assert edit_distance("x" * 300, "x" * 290 + "y" * 20) == 20


def test_edit_similarity_of_empty_equal_and_unlike_texts():
    assert edit_similarity("", "") == 1.0
    assert edit_similarity("abc", "abc") == 1.0
    assert edit_similarity("abc", "xyz") == 0.0
    assert edit_similarity("abcd", "abcx") == 0.75


def test_exact_match_and_subtokens():
    assert exact_match(" a b\n", "a b") == 1.0
    assert exact_match("a  b", "a b") == 0.0
    assert subtoken_f1("getHTTPName", "get_http_name") == 1.0
    assert subtoken_f1("get_value", "get_name") == 0.5
    assert subtoken_f1("get_get", "get") == pytest.approx(2 / 3)
    assert subtoken_f1("", "name") == 0.0


@pytest.mark.parametrize(
    ("written", "wanted", "score"),
    [
        # every count is whole, and the penalty exp(1 - 9 / 6): an underscore is a sign
        ("the meta_path for", "Search the meta_path for resolvers.", 100 * math.exp(-0.5)),
        ("Return a list.", "return a list .", 100.0),
        # 4 of 5, 2 + 1 of 4 + 1, 1 of 3 + 1, 1 of 2 + 1; none is missing in length
        ("a b c d e", "a b x d e", 100 * (4 / 5 * 3 / 5 * 1 / 4 * 1 / 3) ** 0.25),
        ("longer than it is", "than it", 100 * (2 / 4 * 2 / 4 * 1 / 3 * 1 / 2) ** 0.25),
        ("", "a b", 0.0),
        ("nothing here", "a b", 0.0),
    ],
)
def test_bleu_is_that_of_code_summarisation(written, wanted, score):
    assert sentence_bleu(written, wanted) == pytest.approx(score)


class Parrot:
    def generate_texts(self, sources, *, max_new_tokens, num_beams):
        return [text.upper() for text in sources]


def test_the_task_measures_the_ability():
    assert "generation" in tasks_for(Parrot())
    rows = [{"source": "a", "target": "A"}, {"source": "b", "target": "c"}]
    result = evaluate("generation", Parrot(), rows)
    assert result.items["exact_match"] == [1.0, 0.0]
    assert result.metrics["exact_match"].value == 0.5
    assert result.notes["num_texts"] == 2


def test_data_that_do_not_fit_are_told():
    with pytest.raises(UserError, match="no field 'target'"):
        evaluate("generation", Parrot(), [{"source": "a"}])
    with pytest.raises(UserError, match="no rows"):
        evaluate("generation", Parrot(), [])


def test_metrics_are_one_value_a_text():
    metrics = text_metrics(["a", "b"], ["a", "c"])
    assert set(map(len, metrics.values())) == {2}
    assert all(value >= 0 for value in itertools.chain(*metrics.values()))
