"""CodeT5+'s trials: what is claimed, what has to be beaten, and that they run."""

from __future__ import annotations

import pytest
import torch

from pretrial.compare.trial import Context
from pretrial.compare.worker import split_values
from pretrial.data.builtin.catalogue import builtin
from pretrial.methods.code.codet5p import CodeT5p
from pretrial.methods.code.codet5p.trials import pairs, trial
from pretrial.train.loop import train
from pretrial.train.run import Run


@pytest.fixture(scope="module", autouse=True)
def few_functions():
    """The first 600 functions of each side, so that vocabularies take no time."""
    with pytest.MonkeyPatch.context() as patch:
        place = "pretrial.methods.code.codet5p.trials.builtin"
        patch.setattr(place, lambda name, **how: builtin(name, **how)[:600])
        yield


@pytest.fixture(scope="module")
def made():
    return trial(tiny=True)


@pytest.fixture(scope="module")
def data(made):
    pytest.importorskip("bm25s")
    pytest.importorskip("sklearn")
    return made.data()


@pytest.fixture(scope="module")
def prepared(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    made.prepare(0, folder)
    return folder


def test_one_question_is_asked_and_what_is_trivial_has_to_be_beaten(made):
    whole, contrast = made.arm("codet5p").config, made.reference().config
    assert made.reference().name == "contrast"
    assert (whole.stages, contrast.stages) == (("bimodal",), ("bimodal",))
    assert (whole.contrastive, whole.matching, whole.generation) == (True, True, True)
    assert (contrast.contrastive, contrast.matching, contrast.generation) == (True, False, False)
    assert whole.queue_size == contrast.queue_size > 0
    assert made.claims_of(made.arms)[0] == ("codet5p", "contrast", "search_nll", "lower")
    assert set(made.gate.trivial) == {"words", "before", "random"}
    assert {arm.name for arm in made.choose()} == {"codet5p", "contrast", *made.gate.trivial}
    assert made.tuning.field == "pair_lr"
    assert made.useful > 0


def test_the_first_stage_is_shared_and_no_module_is_on_two_sides(made, data, prepared):
    before = CodeT5p.build(made.reference().config, source=prepared)
    after = CodeT5p.build(made.arm("codet5p").config, source=prepared)
    for name, weight in before.network.state_dict().items():
        if not name.startswith(("proj.", "itm_head.")):
            torch.testing.assert_close(weight, after.network.state_dict()[name], msg=name)
    sides = [{row["module"] for row in data.train}, *(set(half.groups) for half in data.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


def test_a_tiny_trial_measures_all_arms(made, data, prepared, tmp_path):
    for arm in made.choose():
        run = Run(tmp_path / arm.name, data.train, budget=made.budget, quiet=True)
        if arm.run:
            subject = arm.run(Context(run, data, prepared))
        else:
            run = run.over(CodeT5p.read(run.data))
            subject = CodeT5p.build(arm.config, source=prepared, data=run.data)
            if arm.trains:
                train(subject, run)
            subject.eval()
        metrics, items, groups = split_values(made.measure(subject, data, 0))
        assert len(items["search_nll"]) == len(data.test[1].texts)
        assert groups["search_nll"]
        assert metrics["search_nll"] < 2.0  # words alone go far, whatever the network adds
        assert ("mrr" in metrics) == ("own_nll" in metrics) == (arm.name != "words")


def test_the_ways_of_the_first_stage_have_a_trial_of_their_own(tmp_path):
    made = trial(about="objectives", tiny=True)
    assert made.name == "objectives"
    assert made.gate.trivial == ("frequencies",)
    data = made.data()
    subject = made.arm("frequencies").run(Context(Run(tmp_path, data.train), data, None))
    assert made.measure(subject, data, 0).keys() == {
        "span loss",
        "prefix loss",
        "decoder loss",
        "mean loss",
    }


def test_a_text_is_cut_out_of_its_code():
    rows = pairs("valid")[:50]
    assert len({row["text"] for row in rows}) == len({row["code"] for row in rows}) == 50
    assert not any(row["text"] in row["code"] for row in rows)
