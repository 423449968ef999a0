"""What a training loop costs: milliseconds a step of ours, a bare one, and two peers.

    OMP_NUM_THREADS=1 python bench/loop.py [--steps 1200] [--rounds 5]

All four train the same tiny model (6,337 weights, batches of 32) on the same examples with fused
AdamW, the same decay groups, clipping at 1 and a linear schedule, and log every 10 steps: so small
a model that the loop is what is measured. The bare loop is what one would write by hand, without
metrics, checkpoints, seeds or budgets. It needs accelerate (pip install 'pretrial[bench]').

A step is timed from one call of the collator to the next, in processor time of the thread, over
blocks of 100 steps; a loop's figure is the median over its blocks, in rounds that alternate between
the loops, and "best" its fastest block. The bar is 0.05 ms a step over the bare loop.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pretrial.train.bridge import TrainerCollator, TrainerModel
from pretrial.train.budget import Budget
from pretrial.train.device import to_device
from pretrial.train.loop import train
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Batch, Optim, Stage

BATCH, RATE, DECAY, BLOCK = 32, 5e-4, 0.01, 100


class Tiny(Method):
    """A network of three layers that learns a sum; its collator notes the time."""

    def __init__(self) -> None:
        super().__init__(None)
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
        )
        self.stamps: list[float] = []

    def batch(self, examples: Sequence[Tensor], generator: torch.Generator) -> Batch:
        self.stamps.append(time.thread_time())
        return {"x": torch.stack(list(examples)), "counts": {"examples": float(len(examples))}}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        error = self.net(batch["x"])[:, 0] - batch["x"].sum(1)
        return {"loss": error.square().sum() / batch["counts"]["examples"]}

    def stages(self, run: Run) -> Any:
        optim = Optim(lr=RATE, weight_decay=DECAY)
        yield Stage("train", self, run.data, run.budget, optim=optim, batch_size=BATCH)


def decay_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Weights that decay and biases that do not."""
    parameters = list(module.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def device_of(model: nn.Module) -> torch.device:
    """Where its weights are."""
    return next(model.parameters()).device


def bare(model: Tiny, data: list[Tensor], steps: int) -> None:
    """A loop by hand."""
    model.train()
    device = device_of(model)
    generator = torch.Generator()
    optimizer = torch.optim.AdamW(decay_groups(model), lr=RATE, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    parameters = list(model.parameters())
    order = torch.randperm(len(data)).tolist()
    for step in range(steps):
        start = step * BATCH % len(data)
        batch = model.batch([data[i] for i in order[start : start + BATCH]], generator)
        if device.type != "cpu":
            batch = to_device(batch, device)
        loss = model.losses(batch)["loss"]
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 10 == 0:
            loss.item()


def ours(model: Tiny, data: list[Tensor], steps: int) -> None:
    """pretrial."""
    with tempfile.TemporaryDirectory() as folder:
        budget, device = Budget(steps), device_of(model)
        train(model, Run(folder, data, budget=budget, device=device, quiet=True))


def with_accelerate(model: Tiny, data: list[Tensor], steps: int) -> None:
    """accelerate's Accelerator around a loop by hand."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.AdamW(decay_groups(model), lr=RATE, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    loader = torch.utils.data.DataLoader(
        data, BATCH, shuffle=True, collate_fn=TrainerCollator(model, 0)
    )
    wrapped, optimizer, loader, schedule = accelerator.prepare(
        TrainerModel(model), optimizer, loader, schedule
    )
    wrapped.train()
    done = 0
    while done < steps:
        for batch in loader:
            loss = wrapped(**batch)["loss"]
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(wrapped.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if done % 10 == 0:
                loss.item()
            done += 1
            if done == steps:
                break


def trainer(model: nn.Module, data: Sequence[Any], collator: Any, **arguments: Any) -> Any:
    """A transformers.Trainer that trains and does nothing else; it never writes a file.

    Args:
        model: what it trains.
        data: examples.
        collator: makes batches of them.
        arguments: of its TrainingArguments.
    """
    from transformers import Trainer, TrainingArguments

    made = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=tempfile.gettempdir(),
            learning_rate=RATE,
            weight_decay=DECAY,
            optim="adamw_torch_fused",
            remove_unused_columns=False,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            **arguments,
        ),
        train_dataset=data,
        data_collator=collator,
    )
    # its console printer; the log itself stays
    made.callback_handler.callbacks = [
        one for one in made.callback_handler.callbacks if "Printer" not in type(one).__name__
    ]
    return made


def with_transformers(model: Tiny, data: list[Tensor], steps: int) -> None:
    """transformers.Trainer."""
    trainer(
        TrainerModel(model),
        data,
        TrainerCollator(model, 0),
        per_device_train_batch_size=BATCH,
        max_steps=steps,
        logging_steps=10,
        use_cpu=device_of(model).type == "cpu",
    ).train()


def blocks(loop: Callable[[Tiny, list[Tensor], int], None], steps: int) -> list[float]:
    """Milliseconds a step, one figure for each block after the first, which warms up."""
    generator = torch.Generator().manual_seed(0)
    data = list(torch.randn(4096, 32, generator=generator))
    model = Tiny()
    loop(model, data, steps)
    marks = model.stamps[BLOCK::BLOCK]
    return [1e3 * (end - start) / BLOCK for start, end in pairwise(marks)]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    loops = {
        "bare loop": bare,
        "pretrial": ours,
        "accelerate": with_accelerate,
        "transformers.Trainer": with_transformers,
    }
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(options.rounds):
        for name, loop in loops.items():
            times[name] += blocks(loop, options.steps)
    base = statistics.median(times["bare loop"])
    print(f"{'loop':22}{'ms/step':>10}{'over bare':>12}{'ratio':>8}{'best':>9}")
    for name, figures in times.items():
        middle = statistics.median(figures)
        print(
            f"{name:22}{middle:10.3f}{middle - base:+12.3f}{middle / base:8.2f}{min(figures):9.3f}"
        )


if __name__ == "__main__":
    main()
