"""Trials of encoders: what each task asks, what it must beat, and that it runs."""

import pytest

from pretrial.compare.kit import encoder_trial
from pretrial.compare.making import make_one
from pretrial.compare.ranking import compose
from pretrial.errors import UserError
from pretrial.methods.text import mlm

ENCODERS = ("electra", "drbert", "mosaicbert", "e2s2")
COMPARED = ("electra", "mlm", "drbert", "mosaicbert", "e2s2")


def test_texts_of_a_module_are_in_one_part():
    found = encoder_trial.unseen(encoder_trial.DOCSTRINGS)
    parts = [found.train, *found.test]
    modules = [{row["module"] for row in part} for part in parts]
    assert not modules[0] & modules[1] | modules[0] & modules[2] | modules[1] & modules[2]
    assert all(len(part) > 100 for part in parts)
    assert set(map(str, found.held_out)) <= set(map(str, found.test[1]))


def test_too_few_texts_name_the_mend(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n')
    with pytest.raises(UserError, match="give more, of several modules"):
        encoder_trial.unseen(str(path))


@pytest.mark.parametrize("slug", ENCODERS)
def test_a_trial_states_what_matters_and_what_must_be_beaten(slug):
    trial = make_one(slug, {})
    assert trial.useful == 0.01
    assert trial.relative
    assert trial.direction == "lower"
    assert {"random"} < set(trial.gate.trivial)
    assert all(not trial.arm(name).trains for name in trial.gate.trivial)
    assert trial.tuning is not None
    assert len(trial.tuning.values) == 3
    rates = {arm.config.lr for arm in trial.arms if arm.config is not None}
    assert rates == {trial.tuning.values[1]}
    assert trial.first_seed == 100  # those from 0 on have answered what was asked before
    assert not any(trial.arm(claim[1]).role == "control" for claim in trial.claims)


@pytest.mark.parametrize("slug", ENCODERS)
def test_packages_stay_a_task_with_a_floor_of_words(slug):
    trial = make_one(slug, {"task": "probe"})
    assert trial.metric == "probe_nll"
    assert "tfidf" in trial.gate.trivial


@pytest.mark.parametrize("slug", ["electra", "e2s2"])
def test_what_names_no_hidden_tokens_says_what_to_ask(slug):
    with pytest.raises(UserError, match=r"set --task to one of .*choice"):
        make_one(slug, {"task": "tokens"})


def test_all_encoders_are_compared_above_one_floor():
    trial = compose(COMPARED, {"tiny": True, "task": "choice"})
    assert trial.metric == "choice_nll"
    assert [arm.name for arm in trial.arms] == [*COMPARED, "random", "neighbours"]
    named = compose(COMPARED, {"tiny": True, "task": "classify"})
    assert [arm.name for arm in named.arms] == [*COMPARED, "random", "tfidf"]
    sizes = {getattr(arm.config, "width", 32) for arm in trial.arms}
    assert sizes == {mlm.Config.tiny().width}
