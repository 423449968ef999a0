"""A method under transformers.Trainer."""

from __future__ import annotations

import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from train_toy import Toy, make_data

from pretrial import discover
from pretrial.train import bridge
from pretrial.train.bridge import TrainerCollator, TrainerModel, after_step
from pretrial.train.budget import Budget
from pretrial.train.run import Run


class Plain(Toy):
    steps = 0

    def after_step(self):
        assert all(parameter.grad is not None for parameter in self.parameters())
        self.steps += 1

    def losses(self, batch):
        return {"loss": super().losses(batch)["mse_loss"]}


@pytest.mark.parametrize("accumulation", [1, 2])
def test_it_trains_a_step(tmp_path, accumulation):
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    method, start = Plain(), Plain()
    data = make_data(8)
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=8 // accumulation,
        gradient_accumulation_steps=accumulation,
        max_steps=1,
        learning_rate=0.1,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0.0,
        remove_unused_columns=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        model=TrainerModel(method),
        args=arguments,
        train_dataset=data,
        data_collator=TrainerCollator(method, seed=0),
        callbacks=[after_step(method)],
    )
    trainer.train()
    assert method.steps == 1

    # halves of equal size: their mean is the loss of the whole
    start.losses(start.batch(data, torch.Generator()))["loss"].backward()
    for now, before in zip(method.parameters(), start.parameters(), strict=True):
        assert torch.allclose(now, before - 0.1 * before.grad, atol=1e-6)
        assert not torch.equal(now, before)


def recipe(slug: str, folder: Path, **arguments: Any) -> dict[str, Any]:
    """What the documented example leaves behind, at tiny sizes."""
    from transformers import Trainer, TrainingArguments

    text = textwrap.dedent((bridge.__doc__ or "").split("\n\n")[1])
    assert 'discover.load("mlm")' in text
    text = text.replace('"mlm"', repr(slug)).replace(".small()", ".tiny()").replace("300", "4")
    text = text.replace("runs/mine", str(folder))
    quiet = {"use_cpu": True, "report_to": [], "disable_tqdm": True, **arguments}
    names: dict[str, Any] = {
        **vars(bridge),
        "Trainer": Trainer,
        "TrainingArguments": partial(TrainingArguments, **quiet),
        "Run": partial(Run, quiet=True),
        "Budget": Budget,
        "Path": Path,
        "discover": discover,
        "rows": discover.load(slug).method.sample_rows() * 3,
    }
    (folder / "model").mkdir(parents=True)
    exec(text, names)
    return names


@pytest.mark.parametrize("slug", ["mlm", "polycom", "ul2", "mae"])
def test_the_documented_recipe_trains_and_its_checkpoints_go_on(slug, tmp_path):
    pytest.importorskip("accelerate")
    names = recipe(slug, tmp_path, save_steps=2)
    trainer, method = names["trainer"], names["method"]
    assert trainer.state.global_step == 4
    again = discover.load(slug).method.build(method.config, source=tmp_path / "model")
    for name, value in method.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    last = trainer.model.module  # of the last stage
    trained = {name: value.clone() for name, value in last.state_dict().items()}
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.add_(1.0)
    trainer.train(resume_from_checkpoint=str(tmp_path / "trainer/checkpoint-4"))
    for name, value in last.state_dict().items():
        assert torch.equal(trained[name], value), name
    # tied weights are in the checkpoint once, and tied again when it was read
    tied = trainer.model._tied()
    assert bool(tied) == (slug in ("mlm", "ul2"))
    parameters = dict(trainer.model.named_parameters(remove_duplicate=False))
    assert all(parameters[name] is parameters[first] for name, first in tied.items())
