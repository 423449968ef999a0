"""Tasks on functions: names hidden everywhere, one variable swapped, splits by module, measures."""

from __future__ import annotations

import ast
import json
import random

import pytest

from pretrial.compare.kit import functions
from pretrial.errors import UserError

CODE = '''def add_all(items, start):
    """Add the items up. Begin at start."""
    total = start  # a copy
    for item in items:
        total = total + add_all(item, total)
    return total
'''
ROW = {"code": CODE, "docstring": "Add the items up. Begin at start.\n\nMore.", "module": "m"}


def names(code):
    return [node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)]


def test_the_name_is_hidden_wherever_it_stands():
    code, name = functions.name_task(ROW)
    assert name == "add_all"
    assert "add_all" not in code
    assert code.startswith(f"def {functions.HIDDEN_NAME}(items, start):")
    assert f"{functions.HIDDEN_NAME}(item, total)" in code
    assert "Add the items" not in code
    assert "a copy" not in code
    assert functions.name_task({**ROW, "code": "def __init__(self):\n    self.x = 1\n"}) is None
    assert functions.name_task({**ROW, "code": "x = 1\n"}) is None


def test_one_use_of_a_local_variable_is_swapped_in_half_of_the_functions():
    rng, swapped = random.Random(0), 0
    original, _ = functions.name_task({**ROW, "code": CODE.replace("add_all", "f")})
    for _ in range(200):
        code, label = functions.misuse_task({**ROW, "code": CODE.replace("add_all", "f")}, rng)
        before, after = names(original), names(code)
        differences = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
        assert len(differences) == label
        assert all({a, b} <= {"items", "item", "start", "total"} for a, b in differences)
        swapped += label
    assert 75 <= swapped <= 125


def test_one_use_of_a_variable_is_left_out():
    rng = random.Random(0)
    for _ in range(50):
        code, (right, wrong) = functions.variable_task(ROW, rng)
        assert right != wrong
        assert {right, wrong} <= {"items", "item", "start", "total"}
        assert names(code.replace(functions.SLOT, right)) == names(
            functions.name_task(ROW)[0].replace("f(", "add_all(")
        )
        assert code.count(functions.SLOT) == 1


def test_no_variables_no_misuse_and_letters_of_several_bytes():
    rng = random.Random(0)
    assert functions.misuse_task({"code": "def f(x):\n    return 1\n"}, rng) is None
    assert functions.misuse_task({"code": "def f(:"}, rng) is None
    code = "def f(größe, x):\n    return ('é', größe, x)\n"
    for _ in range(20):
        made, label = functions.misuse_task({"code": code}, rng)
        ast.parse(made)
        assert (made == code) == (label == 0)


def test_summaries_are_first_sentences():
    code, sentence = functions.summary_task(ROW)
    assert sentence == "Add the items up."
    assert '"""' not in code
    assert functions.summary_task({**ROW, "docstring": "Too short."}) is None


@pytest.fixture
def source(tmp_path):
    """Functions of forty modules in a file."""
    rows = [
        {**ROW, "code": CODE.replace("total", f"sum_{m}_{n}"), "module": f"m{m}"}
        for m in range(40)
        for n in range(3)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_modules_are_on_one_side(source):
    made = functions.data(source, which=("name", "summary"), num_learn=20, num_test=5)
    assert set(made.test) == {"name", "summary"}
    assert len(made.test["name"]["learn"]) == 20
    known = {row["code"].split("sum_")[1].split("_")[0] for row in made.train}
    tested = {code.split("sum_")[1].split("_")[0] for code, _ in made.test["name"]["test"]}
    assert tested
    assert not known & tested
    with pytest.raises(UserError, match="give more data or ask for fewer"):
        functions.data(source, num_learn=1000)


class Parrot:
    """A method that fine-tunes to nothing and answers as told."""

    def __init__(self, answer):
        self.answer = answer

    def writer(self, max_target):
        return self

    def nll(self, pairs, per_token=True):
        return [float(len(target)) for _, target in pairs]

    def generate_texts(self, sources):
        return [self.answer] * len(sources)


def test_what_is_measured(source, monkeypatch):
    monkeypatch.setattr(functions, "finetune", lambda *args, **how: None)
    made = functions.data(source, which=("name", "summary"), num_learn=20, num_test=5)
    found = functions.measure(Parrot("addAll"), made.test, seed=0)
    assert found["name_f1"] == [1.0] * 5
    assert found["name_nll"] == [float(len("add_all"))] * 5
    assert len(found["summary_bleu"]) == 5
    assert found["summary_bleu"][0] < 100
    made = functions.data(source, which=("variable",), num_learn=20, num_test=5)
    found = functions.measure(Parrot(""), made.test, seed=0)
    shorter = [len(right) < len(wrong) for _, (right, wrong) in made.test["variable"]["test"]]
    assert found == {"variable_accuracy": list(map(float, shorter))}


def test_the_summary_is_scored(source, monkeypatch):
    monkeypatch.setattr(functions, "finetune", lambda *args, **how: None)
    made = functions.data(source, which=("summary",), num_learn=20, num_test=5)
    exact = functions.measure(Parrot("Add the items up."), made.test, seed=0)
    assert exact["summary_bleu"] == pytest.approx([100.0] * 5)
