"""Contrastive losses, in one process and in two."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pretrial.objectives.contrastive import (
    gathered,
    hard_negatives,
    info_nce,
    nt_xent,
    own_rows,
)
from pretrial.objectives.momentum import Momentum
from pretrial.objectives.queue import KeyQueue
from pretrial.train.budget import Budget
from pretrial.train.checkpoint import read_tensors
from pretrial.train.loop import train
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Optim, Stage


def unit(*shape: int) -> Tensor:
    return nn.functional.normalize(torch.randn(*shape), dim=-1)


def unit_rows(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def queue_of(keys, size=8):
    queue = KeyQueue(size, keys.shape[1])
    queue.hold(keys)
    queue.push()
    return queue


def test_identical_pair_without_negatives_costs_nothing():
    vector = unit(1, 4)
    assert float(info_nce(vector, vector, 0.07, 1.0)) == 0
    empty = KeyQueue(5, 4)
    assert float(info_nce(vector, vector, 0.07, 1.0, queue=empty)) == 0
    many = unit(3, 4)
    assert float(info_nce(many, many, 0.07, 3.0, queue=empty, in_batch=False)) == 0


def test_equals_the_softmax_written_out():
    queries, keys, past = unit(3, 4), unit(3, 4), unit(5, 4)
    total = 0.0
    for i in range(3):
        right = (queries[i] @ keys[i] / 0.1).exp()
        others = sum((queries[i] @ key / 0.1).exp() for key in [*keys, *past])
        total -= float((right / others).log())
    loss = info_nce(queries, keys, 0.1, 3.0, queue=queue_of(past))
    assert float(loss) == pytest.approx(total / 3, rel=1e-5)


def test_queue_alone_leaves_the_batch_out():
    queries, keys, past = unit(2, 4), unit(2, 4), unit(3, 4)
    both = info_nce(queries, keys, 0.1, 1.0, queue=queue_of(past), in_batch=False)
    single = sum(
        info_nce(queries[i : i + 1], keys[i : i + 1], 0.1, 1.0, queue=queue_of(past))
        for i in range(2)
    )
    torch.testing.assert_close(both, single)


def test_gradients_survive_a_push():
    queries = unit(2, 4).requires_grad_()
    queue = queue_of(unit(3, 4))
    loss = info_nce(queries, unit(2, 4), 0.1, 1.0, queue=queue)
    queue.hold(unit(3, 4))
    queue.push()
    loss.backward()
    assert queries.grad is not None


def test_two_views_find_each_other_as_in_the_public_code_of_e2s2():
    ones, others = torch.randn(4, 6), torch.randn(4, 6)
    a, b = unit_rows(ones), unit_rows(others)
    own = 1e9 * torch.eye(4)
    from_a = torch.cat([a @ b.T, a @ a.T - own], dim=1)
    from_b = torch.cat([b @ a.T, b @ b.T - own], dim=1)
    wanted = sum(
        nn.functional.cross_entropy(scores / 0.7, torch.arange(4), reduction="sum")
        for scores in (from_a, from_b)
    )
    torch.testing.assert_close(nt_xent(ones, others, 0.7, 4.0), wanted / 2 / 4)
    torch.testing.assert_close(nt_xent(others, 9 * ones, 0.7, 4.0), wanted / 2 / 4)
    assert float(nt_xent(ones[:1], others[:1], 1.0, 1.0)) == 0


def test_a_view_has_all_views_of_other_examples_as_negatives():
    same = torch.ones(5, 3)
    assert float(nt_xent(same, same, 1.0, 5.0)) == pytest.approx(math.log(2 * 5 - 1))


def test_hard_negatives_follow_the_softmax():
    scores = torch.tensor([[0.0, 1.0, 2.0, 9.0]]).repeat(4000, 1)
    allowed = torch.tensor([True, True, True, False]).expand(4000, 4)
    drawn = hard_negatives(scores, allowed, 1.0, range(4000))
    shares = drawn.bincount(minlength=4) / 4000
    wanted = torch.tensor([0.0, 1.0, 2.0]).softmax(0)
    torch.testing.assert_close(shares[:3], wanted, atol=0.025, rtol=0)
    assert shares[3] == 0
    even = hard_negatives(scores, allowed, float("inf"), range(4000)).bincount(minlength=4) / 4000
    torch.testing.assert_close(even[:3], torch.full((3,), 1 / 3), atol=0.025, rtol=0)


def test_a_draw_depends_on_its_own_seed_only():
    scores, allowed = torch.randn(4, 9), torch.ones(4, 9, dtype=torch.bool)
    drawn = hard_negatives(scores, allowed, 0.5, [5, 6, 7, 8])
    assert torch.equal(hard_negatives(scores[2:], allowed[2:], 0.5, [7, 8]), drawn[2:])
    assert own_rows(3).tolist() == [0, 1, 2]


class Pairs(Method):
    """Two views of a vector find each other, by a momentum encoder, a queue and the batch."""

    compares_examples = True

    def __init__(self) -> None:
        super().__init__(None)
        self.net = nn.Linear(6, 4)
        self.momentum = Momentum(self.net, decay=0.9)
        self.queue = KeyQueue(20, 4)

    def batch(self, examples, generator):
        x = torch.stack([torch.as_tensor(example) for example in examples])
        return {"x": x, "y": x.flip(1), "counts": {"examples": float(len(x))}}

    def losses(self, batch: dict) -> dict[str, Tensor]:
        count = batch["counts"]["examples"]
        left, right = self.net(batch["x"]), self.net(batch["y"])
        keys = self.momentum(batch["y"])
        batch_loss = info_nce(left, right, 0.5, count)
        queue_loss = info_nce(left, keys, 0.5, count, queue=self.queue)
        self.queue.hold(gathered(keys))
        views_loss = nt_xent(left, right, 0.5, count)
        return {"loss": batch_loss + queue_loss + views_loss, "batch_loss": batch_loss}

    def after_step(self) -> None:
        self.momentum.update()
        self.queue.push()

    def stages(self, run):
        yield Stage("train", self, run.data, run.budget, Optim(1e-2), batch_size=8)


def work(folder: Path) -> dict[str, Tensor]:
    """Trains; weights and buffers at the end."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = torch.randn(40, 6).tolist()
    train(Pairs(), Run(folder, data, budget=Budget(7, "steps"), quiet=True))
    return read_tensors(folder / "stages" / "train" / "done", "weights")


_WORDS = "import sys, pathlib, test_contrastive as t; t.work(pathlib.Path(sys.argv[1]))"


def test_two_processes_equal_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _WORDS, str(tmp_path / "two")],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    one = work(tmp_path / "one")
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    two = read_tensors(tmp_path / "two" / "stages" / "train" / "done", "weights")
    assert one.keys() == two.keys()
    assert int(one["queue.num_pushed"]) == 56
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-5, atol=1e-6, msg=name)
