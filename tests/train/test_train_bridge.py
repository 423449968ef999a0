"""A method under transformers.Trainer."""

from __future__ import annotations

import pytest
import torch
from train_toy import Toy, make_data

from pretrial.train.bridge import TrainerCollator, TrainerModel, after_step


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
