"""FLOPs by torch's counter, and what a stage is said to need."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from train_toy import Toy, make_data

from pretrial.train import flops
from pretrial.train.budget import Budget
from pretrial.train.describe import describe
from pretrial.train.stage import Optim, Stage


def test_products():
    weight = torch.randn(5, 3, requires_grad=True)
    data = torch.randn(4, 5)
    _, forward = flops.count(lambda: data @ weight)
    assert forward == 2 * 4 * 5 * 3
    _, both = flops.count(lambda: (data @ weight).sum().backward())
    assert both == 2 * forward


def test_attention_on_the_cpu_counts():
    query, key, value = (torch.randn(2, 3, 7, 8, requires_grad=True) for _ in range(3))
    _, forward = flops.count(
        lambda: functional.scaled_dot_product_attention(query, key, value).sum()
    )
    assert forward == 2 * (2 * 2 * 3 * 7 * 7 * 8)  # scores, and their product with the values
    _, both = flops.count(
        lambda: functional.scaled_dot_product_attention(query, key, value).sum().backward()
    )
    assert both > 2 * forward


def test_each_shape_is_counted_once():
    counted = []
    meter = flops.FlopMeter()
    weight = torch.randn(5, 3)

    def measure(rows, **more):
        def work(counting):
            counted.append(counting)
            return batch["x"] @ weight

        batch = {"x": torch.randn(rows, 5), "counts": {"examples": float(rows)}, **more}
        return meter.measure(batch, work)[1]

    assert [measure(4), measure(4), measure(6), measure(4)] == [120, 120, 180, 120]
    assert counted == [True, False, True, False]
    assert measure(4, task="other") == 120
    assert counted[-1]


def stage_of(method, **changes):
    options = {"budget": Budget(6), "batch_size": 8, "micro_batch_size": 4} | changes
    return Stage("train", method, make_data(), **options)


def test_describe():
    method = Toy()
    method.frozen["teacher"] = nn.Linear(10, 10)
    method.head.bias.requires_grad_(False)
    about = describe(stage_of(method, ema=0.9))
    assert about["num_trainable"] == 4 * 8 + 8 + 8
    assert about["num_frozen"] == 1 + 110
    assert about["num_parameters"] == about["num_trainable"] + about["num_frozen"]
    memory = about["memory"]
    assert memory["weights"] == 4 * about["num_parameters"] + 8  # and num_seen
    assert memory["gradients"] == memory["ema"] == 4 * 48
    assert memory["optimizer"] == 2 * 4 * 48
    assert memory["activations"] >= 4 * (4 * 4 + 4 * 8)  # the input and the hidden layer
    assert about["flops_per_step"] == 2 * (2 * 2 * 4 * 4 * 8 + 3 * 2 * 4 * 8)
    assert about["tokens_per_step"] == 32
    assert (about["num_steps"], about["num_epochs"]) == (6, pytest.approx(1.2))
    assert about["budget"] == "6 steps"
    assert all(parameter.grad is None for parameter in method.parameters())
    assert method.num_seen == 0


@pytest.mark.parametrize(
    ("budget", "num_steps"),
    [
        (Budget(9, "examples"), 2),
        (Budget(64, "tokens"), 2),
        (Budget(1e4, "flops"), 8),
        (Budget(9, "seconds"), None),
    ],
)
def test_describe_says_how_many_steps_a_budget_buys(budget, num_steps):
    about = describe(stage_of(Toy(), budget=budget))
    assert about["num_steps"] == num_steps


def test_describe_on_the_meta_device():
    about = describe(stage_of(Toy(optim=Optim(kind="sgd")).to("meta")))
    assert about == describe(stage_of(Toy()))


class Picky(Toy):
    """Looks at values to choose examples."""

    def losses(self, batch):
        chosen = batch["x"][:, 0] > 0
        return super().losses({**batch, "x": batch["x"][chosen], "y": batch["y"][chosen]})


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_describe_leaves_out_what_depends_on_values(device):
    method = Picky().to(device).eval()
    about, known = describe(stage_of(method)), describe(stage_of(Toy()))
    assert "flops_per_step" not in about
    assert "activations" not in about["memory"]
    assert about["memory"]["optimizer"] == known["memory"]["optimizer"]
    assert about["num_steps"] == known["num_steps"]
    assert not method.training
    assert describe(stage_of(method, budget=Budget(1e4, "flops")))["num_steps"] is None
