"""ContraBERT's trial: what its arms differ in, whom it asks, and what is measured."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from pretrial.compare.kit import renamed
from pretrial.errors import UserError
from pretrial.methods.code.contrabert import ContraBERT
from pretrial.methods.code.contrabert.trials import trial

TEXT = '''def work_{0}(first, items):
    """Adds up number {0}.

    More is said here.
    """
    total = first * {0}  # a comment
    for item in items:
        total = total + item
    return total
'''
LONG = TEXT.replace("    return", "    print(first, items)\n" * 4 + "    return")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "code.jsonl"
    rows = [{"code": TEXT.format(i), "module": f"m{i // 4}"} for i in range(240)]
    rows += [{"code": LONG.format(i), "module": f"m{i}"} for i in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def data(source):
    return renamed.data(source, num_functions=20, num_train=150, num_misuse=40)


def test_functions_of_the_test_are_of_other_modules_and_bare(data):
    trained = {row["code"] for row in data.train}
    functions = data.test.functions
    assert len(trained) == 150
    assert len(functions.originals) == 20
    assert trained.isdisjoint(functions.originals)
    for text in (*trained, *functions.originals):
        assert "#" not in text
        assert "Adds" not in text
        assert len(text) <= 130
    assert list(functions.variants) == [0, 1, 2, 4, 8]
    assert functions.variants[0] == functions.originals
    assert {row["group"] for row in data.train}.isdisjoint(data.test.groups)
    assert all(
        f"work_{i}(" in text
        for text, group in zip(functions.originals, data.test.groups, strict=True)
        for i in [int(text.split("_")[1].split("(")[0])]
        if f"m{i // 4}" == group
    )


def test_half_of_the_misuse_functions_are_wrong_and_the_renamed_keep_their_labels(data):
    misuse = data.test.misuse
    assert {side: len(found) for side, found in misuse.items()} == {
        "learn": 40,
        "test": 20,
        "renamed": 20,
    }
    assert {label for _, label in misuse["learn"]} == {0, 1}
    for (before, label), (after, same) in zip(misuse["test"], misuse["renamed"], strict=True):
        assert label == same
        assert before != after


def test_arms_differ_in_what_they_are_named_after(source):
    found = trial(data=source, tiny=True)
    configs = {arm.name: arm.config for arm in found.arms}
    assert "rename_variables" not in configs["no-renaming"].code_operators
    assert "sample_lines" in configs["no-renaming"].code_operators
    assert configs["mlm"].contrast_weight == 0
    assert not configs["mlm"].mlm_on_variants
    assert configs["augmented"].contrast_weight == 0
    assert configs["augmented"].mlm_on_variants
    assert configs["text-only"].code_operators == ()
    assert configs["code-only"].text_operators == ()
    assert "sample_lines" not in configs["preserving"].code_operators
    assert configs["no-mlm"].mlm_weight == 0
    assert {arm.name for arm in found.choose()} == {
        "contrabert", "no-renaming", "mlm", "augmented", "before", "random", "shares", "neighbours",
    }  # fmt: skip


def test_measures_are_one_value_a_function_and_modules_are_groups(data, source):
    config = trial(data=source, tiny=True).arm("contrabert").config
    method = ContraBERT.build(config, data=ContraBERT.read(data.train)).eval()
    results = renamed.measure(method, data, seed=0)
    for name in (*(f"accuracy_{count}" for count in (0, 1, 2, 4, 8)), "renamed_token_accuracy"):
        assert results[name].groups[: len(data.test.groups)]
    assert len(results["accuracy_8"].values) == 20
    assert set(results["renamed_nll"].groups) == set(data.test.groups)
    assert len(results["misuse_accuracy"]) == len(results["misuse_renamed"]) == 20
    before, after = (results[name].values for name in ("plain_nll", "renamed_nll"))
    cost = sum(after) / len(after) - sum(before) / len(before)
    assert results["renaming_cost"] == pytest.approx(cost)


def test_counts_are_asked_for_the_same_tokens_as_the_encoders(data, source):
    found = trial(data=source, tiny=True)
    method = ContraBERT.build(found.arm("mlm").config, data=ContraBERT.read(data.train))
    counts = found.arm("neighbours").run(SimpleNamespace(data=data))
    windows = [[10, 11, 12, 13, 14, 15, 16] * 3] * 5
    hidden = [
        each.batch(windows, torch.Generator().manual_seed(0))["loss_mask"]
        for each in (renamed._Naming(method), counts)
    ]
    assert torch.equal(*hidden)
    results = renamed.measure(counts, data, seed=0)
    assert set(results) == {"renamed_nll", "plain_nll", "renaming_cost", "renamed_token_accuracy"}


def test_a_warm_start_is_prepared_for_all_arms(source, tmp_path):
    found = trial(data=source, tiny=True)
    spent = found.prepare(0, tmp_path)
    assert spent.by_purpose["train"]["flops"] >= 1e9
    method = ContraBERT.build(found.arm("contrabert").config, source=tmp_path)
    assert method.encode(["x = 1"]).shape == (1, 32)


def test_too_little_code_is_refused(tmp_path):
    path = tmp_path / "few.jsonl"
    path.write_text(json.dumps({"code": TEXT.format(1)}) + "\n")
    with pytest.raises(UserError, match="give more code"):
        renamed.data(str(path), 20, 100, 0)
