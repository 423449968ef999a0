"""The task of package prediction: a split without leaks, and measurements of the right items."""

import json
from collections import Counter

import pytest

from pretrial.errors import UserError
from pretrial.methods.text import electra, mlm, packages


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two classes from twelve modules each, one from a single module, one lopsided."""
    rows = [
        {"text": f"{verb} {label} number {i}", "label": label, "module": f"{label}.m{i % 12}"}
        for label in ("tree", "sock")
        for verb in ("Open the", "Close the", "Copy the")
        for i in range(24)
    ]
    rows += [{"text": f"lonely {i}", "label": "lonely", "module": "lonely"} for i in range(30)]
    lopsided = [f"lopsided.m{max(0, i - 20)}" for i in range(33)]
    rows += [{"text": f"lop {i}", "label": "lop", "module": m} for i, m in enumerate(lopsided)]
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_no_module_is_on_both_sides_and_no_test_module_is_trained_on(source):
    data = packages.data(source)
    learn, test = data.test
    unseen = {row["module"] for row in test}
    assert not unseen & {row["module"] for row in learn}
    assert not unseen & {row["module"] for row in data.train}
    assert len(data.train) + len(test) == 2 * 72 + 30 + 33


def test_classes_that_one_module_makes_up_are_trained_on_but_not_asked(source):
    data = packages.data(source)
    assert {row["label"] for row in data.test[1]} == {"tree", "sock"}
    assert Counter(row["label"] for row in data.train)["lonely"] == 30


def test_too_few_classes_name_the_mend(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "a", "label": "b"}) + "\n")
    with pytest.raises(UserError, match="give more labelled texts"):
        packages.data(str(path))


def test_measure_gives_one_answer_a_test_text_and_learns_an_easy_task(source):
    data = packages.data(source)
    texts = mlm.MLM.read(data.train)
    method = mlm.MLM.build(mlm.Config.tiny(), data=texts)
    values = packages.measure(method, data.test, 0, num_labels=40, epochs=40, lr=5e-3)
    assert set(values) == {"accuracy", "probe_accuracy"}
    for answers in values.values():
        assert len(answers) == len(data.test[1])
        assert sum(answers) / len(answers) > 0.8


def test_arms_differ_only_in_what_they_compare():
    trial = electra.trial()
    arms = {arm.name: arm for arm in trial.arms}
    assert [arm.name for arm in trial.choose()] == ["electra", "mlm", "random"]
    shared = mlm.Config.__dataclass_fields__.keys() - {"mask_prob", "random_prob"}
    for name in shared:
        assert getattr(arms["electra"].config, name) == getattr(arms["mlm"].config, name), name
    assert arms["random"].config == arms["mlm"].config
    assert trial.budget.unit == "flops"
    for claim in trial.claims:
        assert claim[2] == trial.metric
