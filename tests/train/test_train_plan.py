"""What a stage takes on many devices: exact bytes, the model of the time, and what to mend."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from launched import in_processes
from torch import nn

from pretrial.errors import UserError
from pretrial.train.budget import Budget
from pretrial.train.describe import describe
from pretrial.train.distributed import Losses, join
from pretrial.train.hardware import DEVICES, Device, Machine
from pretrial.train.plan import BF16_ACTIVATIONS, USABLE, mend, plan
from pretrial.train.sharding import Sharding, blocks
from pretrial.train.stage import Optim, Stage, Trainable

WIDTH, DEPTH = 12, 3
GB = 1_000_000_000


class Net(Trainable):
    """Blocks of two layers between an entry and an exit, which are trained; a frozen teacher."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.enter = nn.Linear(4, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(DEPTH)
        )
        self.leave = nn.Linear(width, 1)
        self.frozen = nn.ModuleDict({"teacher": nn.Linear(width, width)})
        self.frozen.requires_grad_(False)
        self.register_buffer("mean", torch.zeros(5))

    def batch(self, examples, generator):
        x = torch.tensor(examples)
        return {"x": x, "counts": {"examples": float(len(x)), "tokens": 4.0 * len(x)}}

    def losses(self, batch):
        hidden = self.enter(batch["x"])
        for block in self.blocks:
            hidden = block(hidden)
        return {"loss": self.leave(hidden).sum() / batch["counts"]["examples"]}


def made(gpus: int, *, batch_size: int = 16, width: int = WIDTH, meta: bool = False, **stage):
    with torch.device("meta" if meta else "cpu"):
        net = Net(width)
    options = {"optim": Optim(kind="adamw"), **stage}
    whole = Stage("train", net, [[0.0] * 4] * 64, Budget(10), batch_size=batch_size, **options)
    return whole, describe(whole, gpus)


def machine(gpus: int, nodes: int = 1, name: str = "a100-80gb") -> Machine:
    return Machine.of(name, gpus, nodes, 0.5)


ENTER, BLOCK, LEAVE = 4 * WIDTH + WIDTH, WIDTH * WIDTH + WIDTH, WIDTH + 1
TRAINED = 4 * (ENTER + DEPTH * BLOCK + LEAVE)  # bytes
FIXED = 4 * (WIDTH * WIDTH + WIDTH + 5)  # the teacher and the buffer
# rows dealt out to 8 devices: 12 rows make 2 each, 1 row makes 1
PART = 4 * ((2 * 4 + 2) + DEPTH * (2 * WIDTH + 2) + (WIDTH + 1))


def test_copied_weights_take_the_same_on_every_device():
    stage, about = made(8, ema=0.9)
    bytes_ = plan(stage, about, machine(8), sharded=False, bf16=False).memory
    assert bytes_ == {
        "weights": TRAINED + FIXED,
        "gradients": TRAINED,
        "optimizer": 2 * TRAINED,
        "ema": TRAINED,
        "gathered": 0,
        "bf16 copies": 0,
        "activations": about["memory"]["activations"],
    }
    assert about["micro_batch_size"] == 2


def test_sharded_weights_are_dealt_out_by_rows():
    stage, about = made(8, ema=0.9)
    found = plan(stage, about, machine(8), sharded=True, bf16=False)
    rest, block = 4 * (ENTER + LEAVE), 4 * BLOCK
    assert found.memory == {
        "weights": PART + FIXED,
        "gradients": PART,
        "optimizer": 2 * PART,
        "ema": PART,
        "gathered": 2 * rest + 3 * block,
        "bf16 copies": 0,
        "activations": about["memory"]["activations"],
    }
    assert found.evaluation == PART + FIXED + 2 * PART + PART + TRAINED
    assert found.needed == max(sum(found.memory.values()), found.evaluation)


def test_a_sharded_process_holds_what_is_planned(tmp_path):
    stage, about = made(2)
    found = plan(stage, about, machine(2), sharded=True, bf16=False)

    def work() -> None:
        world = join()
        sharding = Sharding(Losses(stage.module), stage.module)
        own = [p for n, p in stage.module.named_parameters() if "frozen" not in n]
        held = sum(p.to_local().nbytes for p in own)
        (tmp_path / str(world.rank)).write_text(str(held))
        assert all(p.numel() == 0 for p, _ in sharding._pairs)  # the whole ones are let go
        with sharding.aside():
            assert sum(p.nbytes for p in stage.module.parameters()) == TRAINED + FIXED - 4 * 5
        sharding.end()
        assert not any(hasattr(p, "device_mesh") for p in stage.module.parameters())

    in_processes(2, work)
    held = [int((tmp_path / str(rank)).read_text()) for rank in range(2)]
    assert held[0] == found.memory["gradients"] == found.memory["weights"] - FIXED
    assert sum(held) == TRAINED


def test_sgd_keeps_one_number_a_weight_and_bf16_a_copy():
    stage, about = made(2, optim=Optim(kind="sgd"))
    found = plan(stage, about, machine(2), sharded=False, bf16=True)
    assert found.memory["optimizer"] == TRAINED
    assert found.memory["bf16 copies"] == TRAINED // 2
    activations = about["memory"]["activations"]
    assert found.memory["activations"] == round(BF16_ACTIVATIONS * activations)


def test_one_device_neither_shards_nor_sends():
    stage, about = made(1)
    found = plan(stage, about, machine(1), sharded=True, bf16=False)
    assert not found.sharded
    assert found.exchange == 0
    assert found.memory["gradients"] == TRAINED


def test_a_module_without_weights_in_memory_is_planned_alike():
    plans = [
        plan(*made(8, meta=meta), machine(8), sharded=True, bf16=False) for meta in (False, True)
    ]
    assert plans[0] == plans[1]


def test_a_step_takes_what_the_formulas_say():
    device = Device(memory=80e9, fp32=1e12, bf16=4e12, bandwidth=1e12, link=100e9, network=10e9)
    eight = Machine("made-up", device, gpus=8, nodes=2, utilisation=0.5)
    stage, about = made(8, micro_batch_size=1)
    copied = plan(stage, about, eight, sharded=False, bf16=False)
    # 4 devices a node: 3/4 of the bytes inside, then half of a quarter of them between the nodes
    one_pass = 0.75 * TRAINED / 100e9 + 0.5 * (TRAINED / 4) / 10e9
    assert eight.pass_seconds(TRAINED) == pytest.approx(one_pass)
    assert copied.compute == pytest.approx(about["flops_per_step"] / 8 / 0.5e12)
    assert copied.exchange == pytest.approx(2 * one_pass)
    assert copied.update == pytest.approx(7 * TRAINED / 1e12)
    assert copied.step_seconds == pytest.approx(
        max(copied.compute, copied.exchange) + copied.update
    )
    assert copied.tokens == 4 * 16
    assert copied.tokens_per_second == pytest.approx(64 / copied.step_seconds)
    assert copied.hours == pytest.approx(10 * copied.step_seconds / 3600)
    sharded = plan(stage, about, eight, sharded=True, bf16=True)
    assert sharded.exchange == pytest.approx(2 * 3 * one_pass)  # 2 forward passes a step
    assert sharded.compute == pytest.approx(about["flops_per_step"] / 8 / 2e12)
    assert sharded.update == pytest.approx(7 * PART / 1e12)


def advice(memory_gb: float, *, gpus: int = 8, shard: bool = False, **about):
    """What is said of a large stage on devices of so much memory."""
    device = replace(DEVICES["a100-80gb"], memory=memory_gb * GB / USABLE)
    small = Machine("small", device, gpus, 1)
    stage, told = made(gpus, width=20_000, meta=True)
    told["memory"]["activations"] = about.pop("activations", 0)
    told |= about
    found, cut = (plan(stage, told, small, sharded=s, bf16=False) for s in (shard, True))
    return mend(found, cut, small, told)


def test_a_device_that_is_large_enough_needs_no_mend():
    assert advice(80) is None


def test_a_device_that_is_too_small_for_copies_is_told_to_shard():
    # 1.2 billion weights: 19.2 GB of weights, gradients and state, and the frozen teacher's 1.6
    assert advice(18) == (
        "stage 'train' needs 20.8 GB on each device and 18.0 GB of small can be used: add --shard,"
        " which needs 8.8 GB"
    )


def test_too_many_activations_are_answered_with_a_smaller_forward_pass():
    text = advice(24, activations=20 * GB, micro_batch_size=2)
    assert text == (
        "stage 'train' needs 40.8 GB on each device and 24.0 GB of small can be used: set"
        " the method's micro-batch size to at most 1 with --shard"
    )
    compared = advice(24, activations=20 * GB, micro_batch_size=2, compares_examples=True)
    assert "take more GPUs with --shard, so that each gets at most 1 examples a step" in compared


def test_else_a_larger_device_is_named_or_a_smaller_model():
    assert advice(5, shard=True).endswith("take a larger device, such as l4")
    text = advice(5, activations=900 * GB, micro_batch_size=1)
    assert text.endswith(
        "no device of the table is large enough with --shard: choose a smaller model"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("a100", 8, 1, 0.4), "no figures of the device 'a100'; the nearest: .*a100-40gb"),
        (("h100", 9, 2, 0.4), "9 GPUs cannot stand in 2 equal nodes"),
        (("h100", 8, 0, 0.4), "as a multiple of --nodes"),
        (("h100", 8, 1, 1.5), "--utilisation is above 0 and at most 1, not 1.5"),
    ],
)
def test_machines_that_cannot_be(words, told):
    with pytest.raises(UserError, match=told):
        Machine.of(*words)


def test_blocks_are_what_computes_and_owns_its_weights():
    net = Net()
    assert blocks(net) == list(net.blocks)
    net.blocks[1][0].weight = net.leave.weight  # shared with the rest
    assert blocks(net) == [net.blocks[0], net.blocks[2]]
    net.lists = nn.ModuleList([nn.ModuleList([nn.Linear(2, 2)]), nn.Identity()])
    assert blocks(net) == [net.blocks[0], net.blocks[2]]  # a list computes nothing by itself
    assert blocks(net, ("blocks.",)) == []
