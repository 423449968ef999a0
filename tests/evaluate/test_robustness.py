"""Robustness to renaming: which functions take part, and when one counts as found."""

from __future__ import annotations

import pytest
import torch

from pretrial.code_views import view
from pretrial.errors import UserError
from pretrial.evaluate.robustness import found_again, measure_robustness, renamed_functions
from pretrial.evaluate.tasks import evaluate

TEXT = "def f{0}(a{0}, b{0}):\n    c{0} = a{0} + b{0} * {0}\n    d{0} = c{0}\n    return d{0}\n"
ROWS = [{"code": TEXT.format(i)} for i in range(12)] + [{"code": "def g(x):\n    return x\n"}]


class Letters:
    """Vectors that count characters; digits alone, where names do not matter."""

    def __init__(self, alphabet):
        self.alphabet = alphabet

    def encode(self, texts):
        return torch.tensor([[float(t.count(c)) for c in self.alphabet] for t in texts])


def test_so_many_variables_are_renamed():
    functions = renamed_functions(ROWS, (0, 1, 3, 8))
    assert len(functions.originals) == 12  # one has too few variables
    assert functions.variants[0] == functions.originals
    for count in (1, 3, 8):
        for before, after in zip(functions.originals, functions.variants[count], strict=True):
            old, new = set(view(before).identifiers()), set(view(after).identifiers())
            assert len(old - new) == len(new - old) == min(count, 4)
    assert functions == renamed_functions(ROWS, (0, 1, 3, 8))
    assert functions != renamed_functions(ROWS, (0, 1, 3, 8), seed=1)
    assert len(renamed_functions(ROWS, num_functions=5).originals) == 5
    assert len(renamed_functions([*ROWS, *ROWS]).originals) == 12


def test_a_function_is_found_if_its_own_is_nearest_alone():
    functions = renamed_functions(ROWS, (0, 8))
    same = found_again(lambda texts: torch.ones(len(texts), 3), functions)
    assert same == {0: [0.0] * 12, 8: [0.0] * 12}  # as near as all others is not found
    distinct = {text: float(i) for i, text in enumerate(functions.originals)}

    def spread(texts):
        angles = torch.tensor([distinct.get(text, -1.0) for text in texts])
        return torch.stack([angles.cos(), angles.sin()], 1)

    assert found_again(spread, functions)[0] == [1.0] * 12


def test_the_task_gives_a_curve():
    result = measure_robustness(Letters("0123456789+*abcdfr"), ROWS, renames=(0, 8))
    assert list(result.metrics) == ["accuracy@0", "accuracy@8"]
    assert result.metrics["accuracy@0"].value > result.metrics["accuracy@8"].value
    assert result.notes["num_functions"] == 12
    again = evaluate("robustness", Letters("0123456789"), ROWS, renames=(1,))
    assert len(again.items["accuracy@1"]) == 12


def test_other_languages_take_part():
    text = "int f{0}(int a, int b) {{ int c = a + {0}; int d = b * c; return d; }}"
    rows = [{"code": text.format(i), "language": "java"} for i in range(3)]
    assert len(renamed_functions(rows).originals) == 3


def test_too_few_functions_and_a_missing_field_are_refused():
    with pytest.raises(UserError, match="least_variables lower"):
        renamed_functions(ROWS[-1:])
    with pytest.raises(UserError, match="found: code"):
        renamed_functions(ROWS, code="text")
