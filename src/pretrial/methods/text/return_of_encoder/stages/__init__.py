"""The stages: the teacher learns the task, where it is to, and then the student learns from it.

`distillation` is what is done for each batch of the latter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from pretrial.data.rows import where
from pretrial.errors import UserError
from pretrial.methods.text.return_of_encoder.config import SCRATCH
from pretrial.methods.text.return_of_encoder.data import Example
from pretrial.methods.text.return_of_encoder.network.low_rank import add_low_rank, merge_low_rank
from pretrial.methods.text.return_of_encoder.network.mu import MuForCausalLM
from pretrial.methods.text.return_of_encoder.stages.distillation import load_teacher
from pretrial.train.budget import Budget
from pretrial.train.run import Run
from pretrial.train.seeds import seed_of
from pretrial.train.stage import Optim, Stage

if TYPE_CHECKING:
    from pretrial.methods.text.return_of_encoder import ReturnOfEncoder

_ALPHA_RATIO = 2.0  # alpha 32 at rank 16: get_teacher
_HELD_OUT = 256  # examples


class Training:
    """One run.

    Args:
        method: the student.
        run: where.
    """

    def __init__(self, method: ReturnOfEncoder, run: Run) -> None:
        self.method, self.run, self.config = method, run, method.config

    def stages(self) -> Iterator[Stage]:
        """One stage, or two with a teacher that learns the task first."""
        config, whole = self.config, self.run.budget
        ratio = config.teacher_ratio
        if not any(example.target is not None for example in self.run.data):
            raise UserError(
                "no row has a 'target' to learn from: name the field with --fields target=OTHER"
            )
        if config.teacher:
            teacher = self._teacher()
            if ratio:
                yield from self._teach_task(teacher, Budget(whole.amount * ratio, whole.unit))
            self.method.frozen["teacher"] = teacher.to(self.run.device).eval()
            self.method.distillation.book_in(self.run)
        budget = Budget(whole.amount * (1 - ratio), whole.unit)
        yield self._stage("train", self.method, self.run.data, budget, config.lr)
        self.method.distillation.book_rest()
        if "teacher" in self.method.frozen:  # no part of what was trained
            del self.method.frozen["teacher"]

    def _teacher(self) -> Any:
        """The teacher, as it comes."""
        config = self.config
        if config.teacher != SCRATCH:
            if "teacher" in self.method.frozen:
                return self.method.frozen["teacher"]
            return load_teacher(config.teacher, self.method.tokenizer)[0]
        sizes = config.decoder_only(config.teacher_layers)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.run.seed, "teacher"))
            num_tokens = self.method.network.config.vocab_size
            return MuForCausalLM(sizes.network_config(num_tokens, self.method.tokenizer))

    def _teach_task(self, teacher: Any, budget: Budget) -> Iterator[Stage]:
        """Trains the teacher on the labels, then merges what was trained into it."""
        config = self.config
        narrow = config.teacher_rank if config.teacher != SCRATCH else 0
        if narrow:
            output = (teacher.get_output_embeddings(),)
            add_low_rank(teacher, narrow, _ALPHA_RATIO * narrow, leave=output)
        plain = replace(
            config, architecture="decoder_only", vision="", teacher="", teacher_ratio=0.0
        )
        tuner = type(self.method)(plain, teacher, self.method.tokenizer)
        rows = where(self.run.data, lambda row: row.image is None)
        if not rows:
            raise UserError(
                "every row has an image, and a teacher of text cannot learn from them: set"
                " --teacher-ratio 0, or --teacher ''"
            )
        yield self._stage("teacher", tuner, rows, budget, config.teacher_lr)
        merge_low_rank(teacher)

    def _stage(
        self, name: str, module: Any, rows: Sequence[Example], budget: Budget, lr: float
    ) -> Stage:
        config = self.config
        seen = (row for row in self.run.held_out if row.target is not None)
        if name == "teacher":
            seen = (row for row in seen if row.image is None)
        aside = list(islice(seen, _HELD_OUT))
        return Stage.of(
            name,
            module,
            rows,
            config,
            budget=budget,
            optim=Optim(lr, config.weight_decay, schedule="cosine", warmup=config.warmup),
            batch_size=min(config.batch_size, len(rows)),
            evaluate=(lambda: module.held_out_nll(aside)) if aside else None,
            purpose="train" if name == "train" else "teacher_training",
        )
