"""Rank classification."""

import pytest

from pretrial.errors import UserError
from pretrial.evaluate.tasks import evaluate


class Uniform:
    def choice_scores(self, prompts, choices, *, per_token=False):
        return [[-1.0] * len(each) for each in choices]


class Knows:
    """Finds the choice that its prompt names."""

    def choice_scores(self, prompts, choices, *, per_token=False):
        return [
            [float(choice in prompt) for choice in each]
            for prompt, each in zip(prompts, choices, strict=True)
        ]


ROWS = [
    {"input": "Q: a", "choices": ["a", "b"], "target": "a", "task": "two", "prompt": "p"},
    {"input": "Q: b", "choices": ["a", "b"], "target": "b", "task": "two", "prompt": "q"},
    {"input": "Q: z", "choices": ["w", "x", "y", "z"], "target": "z", "task": "four"},
    {"input": "Q: z", "choices": ["w", "x", "y", "z"], "target": "w", "task": "four"},
]


def test_a_model_that_knows_nothing_scores_exactly_chance():
    result = evaluate("rank", Uniform(), ROWS)
    assert result.metrics["accuracy"].value == result.notes["chance"] == 0.375
    assert result.items["accuracy"] == [0.5, 0.5, 0.25, 0.25]
    assert result.notes["task_accuracy"] == 0.375


def test_tasks_count_alike_and_prompts_by_their_median():
    rows = [ROWS[0]] * 3 + [{**ROWS[1], "input": "Q: a"}] + ROWS[2:]
    rows.append({**ROWS[0], "input": "Q: b", "prompt": "r"})
    result = evaluate("rank", Knows(), rows)
    assert result.items["accuracy"] == [1, 1, 1, 0, 1, 0, 0]
    assert result.notes["two"].startswith("0.0000")  # prompts p 1, q 0, r 0
    assert result.notes["four"] == "0.5000 (chance 0.2500)"
    assert result.notes["task_accuracy"] == 0.25


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"choices": ["a", "b"], "target": "a"}, "no 'input'"),
        ({"input": "x", "choices": ["a"], "target": "a"}, "two or more"),
        ({"input": "x", "choices": ["a", "b"], "target": "c"}, "the target among them"),
        ({"input": "x", "choices": "ab", "target": "a"}, "list"),
    ],
)
def test_rows_that_cannot_be_ranked_are_named(row, message):
    with pytest.raises(UserError, match=message):
        evaluate("rank", Uniform(), [row])


def test_no_rows_are_refused():
    with pytest.raises(UserError, match="give data"):
        evaluate("rank", Uniform(), [])
