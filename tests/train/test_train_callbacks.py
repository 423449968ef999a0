"""What a caller is told while a run trains."""

from __future__ import annotations

import pytest
import torch
from train_toy import Toy, make_data, rows_of

from pretrial.train.budget import Budget
from pretrial.train.callbacks import Callbacks
from pretrial.train.loop import train
from pretrial.train.run import Run


class Heard:
    """Notes what it is told, and can fail once."""

    def __init__(self, fail_at=None):
        self.logged, self.evaluated, self.ended, self.fail_at = [], [], [], fail_at

    def callbacks(self):
        return Callbacks(self.on_log, self.on_evaluate, self.on_stage_end)

    def on_log(self, numbers, stage, step):
        if step == self.fail_at:
            raise RuntimeError("the caller's own fault")
        torch.rand(3)  # draws nothing that the run would miss
        self.logged.append((stage, step, numbers["loss"]))

    def on_evaluate(self, numbers, stage, step):
        self.evaluated.append((stage, step, dict(numbers)))

    def on_stage_end(self, stage, module):
        self.ended.append((stage, module))


def trained(folder, heard, **method):
    data = make_data()
    callbacks = heard.callbacks() if heard else None
    run = Run(folder, data, data[:8], Budget(6), quiet=True, log_every=2, callbacks=callbacks)
    toy = Toy(**method)
    train(toy, run)
    run.close()
    return toy, run


def test_each_row_is_told_once_with_its_stage_and_step(tmp_path):
    heard = Heard()
    scores = iter((1.0, 2.0))
    toy, run = trained(tmp_path, heard, evaluate=lambda: {"score": next(scores)}, evaluate_every=3)
    rows = rows_of(run.folder)
    assert heard.logged == [(r["stage"], r["step"], r["loss"]) for r in rows if "loss" in r]
    assert [step for _, step, _ in heard.logged] == [2, 4, 6]
    assert [step for _, step, _ in heard.evaluated] == [3, 6]
    assert [numbers for _, _, numbers in heard.evaluated] == [{"score": 1.0}, {"score": 2.0}]
    ((stage, module),) = heard.ended
    assert (stage, module) == (rows[0]["stage"], toy)


def test_they_change_nothing_that_is_learnt(tmp_path):
    told, _ = trained(tmp_path / "told", Heard())
    alone, _ = trained(tmp_path / "alone", None)
    assert all(map(torch.equal, told.state_dict().values(), alone.state_dict().values()))


def test_a_finished_run_is_not_told_again(tmp_path):
    trained(tmp_path, Heard())
    again = Heard()
    trained(tmp_path, again)
    assert [again.logged, again.evaluated, again.ended] == [[], [], []]


def test_what_one_raises_ends_the_call_and_the_run_goes_on(tmp_path):
    with pytest.raises(RuntimeError, match="the caller's own fault"):
        trained(tmp_path, Heard(fail_at=4))
    heard = Heard()
    trained(tmp_path, heard)
    assert heard.logged[-1][1] == 6
    assert len(heard.ended) == 1
