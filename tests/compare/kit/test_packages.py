"""The task of package prediction: a split without leaks, and measurements of the right items."""

import json
import math
from collections import Counter

import numpy as np
import pytest

from pretrial.compare.kit import packages
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError
from pretrial.methods.text import mlm
from pretrial.methods.text.electra.trials import trial as electra_trial


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
    data = packages.data(source, 40)
    learn, test = data.test
    unseen = {row["module"] for row in test}
    assert not unseen & {row["module"] for row in learn}
    assert not unseen & {row["module"] for row in data.train}
    assert len(data.train) + len(test) == 2 * 72 + 30 + 33


def test_classes_that_one_module_makes_up_are_trained_on_but_not_asked(source):
    data = packages.data(source, 40)
    assert {row["label"] for row in data.test[1]} == {"tree", "sock"}
    assert Counter(row["label"] for row in data.train)["lonely"] == 30


def test_too_few_classes_name_the_mend(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "a", "label": "b"}) + "\n")
    with pytest.raises(UserError, match="give more labelled texts"):
        packages.data(str(path), 40)


def test_measure_gives_one_answer_a_test_text_and_learns_an_easy_task(source):
    data = packages.data(source, 40)
    texts = mlm.MLM.read(data.train)
    method = mlm.MLM.build(mlm.Config.tiny(), data=texts)
    values = packages.measure(method, data.test, 0, num_labels=40, epochs=40, rates=(5e-3, 10.0))
    assert set(values) == {
        "accuracy",
        "probe_accuracy",
        "probe_nll",
        "top_guess_ratio",
        "finetuning_lr",
        "token_kind_accuracy",
    }
    assert values["token_kind_accuracy"] > 0.7  # the numbers stand apart from the words
    assert values["finetuning_lr"] == 5e-3  # at the other it collapses
    assert 0.4 < values["top_guess_ratio"] < 0.7  # two classes, about even
    for name in ("accuracy", "probe_accuracy"):
        assert len(values[name].values) == len(data.test[1])
        assert np.mean(values[name].values) > 0.8
        assert values[name].groups == [row["module"] for row in data.test[1]]
    right = np.exp(-np.array(values["probe_nll"].values)) > 0.5  # of two classes
    assert right.tolist() == (np.array(values["probe_accuracy"].values) == 1.0).tolist()
    assert np.mean(values["probe_nll"].values) < math.log(2)
    probed = packages.measure(method, data.test, 0, num_labels=40, task="probe")
    assert probed["probe_accuracy"] == values["probe_accuracy"]
    assert "accuracy" not in probed


def test_kinds_of_tokens():
    text = "Call os.path.join(a) for 3 names -- or None"
    words = {
        "os": "code",
        "join": "code",
        "3": "number",
        "names": "word",
        "--": "mark",
        "None": "name",
    }
    for word, kind in words.items():
        start = text.index(word)
        assert packages.token_kind(text, start, start + len(word)) == kind


def test_a_collapsed_classifier_shows_in_the_measurement(source):
    data = packages.data(source, 40)
    method = mlm.MLM.build(mlm.Config.tiny(), data=mlm.MLM.read(data.train))
    values = packages.measure(method, data.test, 0, num_labels=40, epochs=2, rates=(10.0,))
    assert values["top_guess_ratio"] == 1.0


def test_texts_that_served_to_choose_settings_are_learnt_from_and_not_tested_on(source):
    learn, test = packages.data(source, 40).test
    pilot = split_by_group([*learn, *test], "module", {"learn": 0.5, "test": 0.5})
    assert {row["text"] for row in pilot["test"]} == {row["text"] for row in learn}


@pytest.mark.parametrize("num_labels", [1, 10_000])
def test_a_number_of_labels_that_cannot_be_met_is_refused_before_training(source, num_labels):
    with pytest.raises(UserError, match="set --num-labels in between"):
        packages.data(source, num_labels)


def test_arms_differ_only_in_what_they_compare():
    trial = electra_trial()
    arms = {arm.name: arm for arm in trial.arms}
    assert [arm.name for arm in trial.choose()] == ["electra", "mlm", "random", "neighbours"]
    shared = mlm.Config.__dataclass_fields__.keys() - {"mask_prob", "random_prob"}
    for name in shared:
        assert getattr(arms["electra"].config, name) == getattr(arms["mlm"].config, name), name
    assert arms["random"].config == arms["mlm"].config
    assert trial.budget.unit == "flops"
    for claim in trial.claims:
        assert claim[2] == trial.metric
    assert {claim[2] for claim in electra_trial(task="probe").claims} == {"probe_nll"}
