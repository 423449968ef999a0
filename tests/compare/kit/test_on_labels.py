"""Methods side by side on the labels of one's own data, and the floor that stands first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pretrial import discover
from pretrial.cli.trials import LabelOptions, TrialOptions, _way_of
from pretrial.compare.kit.on_labels import data_on_labels, measure_on_labels
from pretrial.compare.ranking import compose, floors, headline, recommendation
from pretrial.compare.started import Start
from pretrial.compare.trial import Context
from pretrial.compare.worker import split_values
from pretrial.data.origins import origin_of
from pretrial.errors import UserError

_WORDS = {
    "animals": ("cat", "dog", "horse", "cow"),
    "tools": ("hammer", "saw", "drill", "axe"),
    "plants": ("oak", "rose", "fern", "moss"),
}


@pytest.fixture
def labelled_texts(tmp_path) -> str:
    """120 short texts of three kinds, of which some are equal."""
    rng = np.random.default_rng(0)
    rows = []
    for place in range(120):
        label = sorted(_WORDS)[place % 3]
        text = " ".join(rng.choice(_WORDS[label], 3)) + f" number {rng.integers(9)}"
        rows.append({"text": text, "label": label})
    path = tmp_path / "notes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_comparison_on_labels_has_the_floor_among_its_arms(labelled_texts) -> None:
    trial = compose(("electra", "mlm"), {"data": labelled_texts, "task": "choice"}, "probe")
    assert trial.gate.trivial == ("majority", "counts", "random")
    assert [arm.name for arm in trial.arms] == ["electra", "mlm", "majority", "counts", "random"]
    assert (trial.metric, trial.direction) == ("accuracy", "higher")
    assert trial.claims == (("electra", "mlm", "accuracy", "higher"),)


def test_equal_rows_are_on_one_side(labelled_texts) -> None:
    found = data_on_labels(labelled_texts)
    learn, test = ({origin_of(row) for row in part} for part in found.test)
    assert not learn & test
    assert not {origin_of(row) for row in found.train} & test


@pytest.mark.parametrize("way", ["probe", "finetune"])
def test_floor_and_methods_learn_from_the_same_labels(labelled_texts, way, monkeypatch) -> None:
    monkeypatch.setattr("pretrial.compare.kit.on_labels._RATES", (3e-3,))
    made = compose(("electra", "mlm"), {"data": labelled_texts}, way)
    trial = Start(preset="tiny").of(made)
    found = trial.data()
    floor = {}
    for name in ("majority", "counts"):
        answer = trial.arm(name).run(Context(None, found, None))
        values = measure_on_labels(answer, found, 0, way)
        floor[name] = float(np.mean(values["accuracy"]))
        assert len(values["log_loss"]) == len(found.test[1])
    assert floor["counts"] > 0.9 > 0.6 > floor["majority"]
    mlm = discover.load("mlm")
    torch.manual_seed(0)
    method = mlm.method.build(trial.arm("mlm").config, data=mlm.method.read(found.train)).eval()
    values = measure_on_labels(method, found, 0, way)
    assert 0.3 < np.mean(values["accuracy"]) <= 1
    assert np.isfinite(values["log_loss"]).all()


def test_methods_that_cannot_be_asked_are_named(labelled_texts) -> None:
    with pytest.raises(UserError, match=r"ul2 cannot be asked for labels.*'classifier'.*probe"):
        compose(("electra", "ul2"), {"data": labelled_texts}, "finetune")
    with pytest.raises(UserError, match="give it with --data"):
        compose(("electra", "mlm"), {}, "probe")


def test_bad_labels_are_one_sentence(tmp_path) -> None:
    for labels, said in ((["a"] * 60, "alike"), (["a", "b"] * 5, "too few")):
        path = tmp_path / "rows.jsonl"
        rows = [{"text": f"text {i}", "label": label} for i, label in enumerate(labels)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(UserError, match=said):
            data_on_labels(str(path))


def test_labels_are_asked_for_where_the_users_data_has_some(labelled_texts, capsys) -> None:
    electra = discover.load("electra").trial
    given = {"data": labelled_texts, "task": "choice", "num_labels": 300, "tiny": False}
    slugs, common = ("electra", "mlm"), TrialOptions()
    assert LabelOptions().labels == "auto"
    assert _way_of(slugs, given, common, electra, ()) == "finetune"
    assert "has labels, so they are asked for" in capsys.readouterr().out
    assert _way_of(slugs, given, common, electra, ("--task", "choice")) == "no"
    builtin = {**given, "data": "builtin:stdlib-docstrings"}
    assert _way_of(slugs, builtin, common, electra, ()) == "no"
    unlabelled = Path(labelled_texts).with_name("plain.jsonl")
    unlabelled.write_text('{"text": "no label"}\n' * 5)
    assert _way_of(slugs, {**given, "data": str(unlabelled)}, common, electra, ()) == "no"


def _few_seeds(best: float, words: float) -> dict:
    arm = {"method": "", "config": None, "seeds": [0], "items": {}, "parameters": None,
           "seconds": [1.0], "curves": {}}  # fmt: skip
    return {
        "kind": "comparison", "metric": "accuracy", "direction": "higher", "gate": None,
        "useful": {"value": 0.02}, "groups": {}, "budget": {"unit": "steps"},
        "setting": {"seeds": [0]},
        "arms": [
            {**arm, "name": "a", "label": "A", "role": "method", "trains": True,
             "metrics": {"accuracy": [best]}, "spent": {"train": {"seconds": 1.0}}},
            {**arm, "name": "counts", "label": "TF-IDF", "role": "control", "trains": False,
             "metrics": {"accuracy": [words]}, "spent": {}},
        ],
    }  # fmt: skip


def test_the_floor_is_said_first_also_with_few_seeds() -> None:
    """With fewer than five seeds there is no gate, and the best of nothing was recommended."""
    record = _few_seeds(0.42, 0.819)
    assert floors(record) == {"counts": 0.819}
    assert headline(record) == (
        "Nothing here beats TF-IDF: the best, A, reaches 0.42 of accuracy, TF-IDF 0.819."
    )
    assert recommendation(record).startswith("None of these is better than TF-IDF")
    assert headline(_few_seeds(0.9, 0.8)) == (
        "A is ahead of the floor so far: it reaches 0.9 of accuracy, TF-IDF 0.8."
    )
    record = _few_seeds(0.9, 0.8)
    record["arms"].insert(0, {**record["arms"][0], "name": "b", "label": "B"})
    assert "so take it" not in recommendation(record)
    assert "Fewer than 5 seeds decide nothing" in recommendation(record)


def test_the_majority_is_among_the_floor_where_the_trial_is_about_labels() -> None:
    given = {"tiny": True, "data": "builtin:digits?size=12"}
    trial = compose(("mp3", "mae"), given)
    assert trial.gate.trivial == ("pixels", "random", "majority")
    found = trial.data()
    answer = trial.arm("majority").run(Context(None, found, None))
    plain = trial.measure(None, found, 0)
    values = trial.measure(answer, found, 0)
    assert set(values) == set(plain)
    metrics, items, _ = split_values(values)
    assert len(items["nll"]) == len(found.test)
    assert metrics["nll"] == pytest.approx(np.log(10), abs=0.01)  # as many labels of each digit
    assert split_values(plain)[0]["nll"] < metrics["nll"]
