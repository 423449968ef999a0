"""What is done before a step of distillation: answers are drawn, and the teacher reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from pretrial.corrupt.masks import IGNORE
from pretrial.methods.text.return_of_encoder.config import Config
from pretrial.methods.text.return_of_encoder.reading import Reader
from pretrial.methods.text.return_of_encoder.teaching import aligned_logits, draw_answers
from pretrial.models.architectures.seq2seq import pad_rows
from pretrial.train import flops
from pretrial.train.device import to_device
from pretrial.train.stage import Batch

if TYPE_CHECKING:
    from pretrial.train.run import Run

Result = TypeVar("Result")
_BOOKED = ("sample", "teacher")


class Ledger:
    """Where work is booked; a copy of a method books it nowhere."""

    def __init__(self, run: Run | None = None) -> None:
        self.run = run

    def __deepcopy__(self, memo: dict[int, Any]) -> Ledger:
        return Ledger()


class Lessons(nn.Module):
    """Draws answers and asks the teacher, in the work of a run.

    Args:
        config: settings.

    Attributes:
        beside: FLOPs of either that are booked when the training is over.
        ledger: names the run that the work is booked in.
    """

    beside: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.ledger = Ledger()
        self.register_buffer("beside", torch.zeros(len(_BOOKED), dtype=torch.int64))

    def draws(self, number: int, generator: torch.Generator) -> Tensor:
        """Numbers in [0, 1) that answers are drawn with [number, longest answer]."""
        longest = self.config.max_target
        return torch.stack([torch.rand(longest, generator=generator) for _ in range(number)])

    @torch.no_grad()
    def answers(
        self, network: Any, reader: Reader, sources: Sequence[list[int]], draws: Tensor
    ) -> list[list[int]]:
        """The student's own answers.

        Args:
            network: of the student.
            reader: knows its special tokens.
            sources: token ids.
            draws: see `draws`.
        """
        run = self.ledger.run
        with run.whole() if run is not None else nullcontext():
            return self._booked(
                "sample",
                lambda: draw_answers(
                    network,
                    sources,
                    draws,
                    end=reader.end,
                    pad=reader.pad,
                    temperature=self.config.temperature,
                    top_k=self.config.top_k,
                    num_tokens=len(reader.tokenizer),
                ),
            )

    @torch.no_grad()
    def add(
        self,
        batch: Batch,
        seen: Tensor,
        answers: Sequence[list[int]],
        teacher: Any,
    ) -> None:
        """Adds `answers` [B, U], -100 behind their end, and `teacher_logits` [B, U, V] to a batch.

        Args:
            batch: of `collate`.
            seen: places of the rows that the teacher judges; the others have no answers [K].
            answers: of these rows, token ids.
            teacher: a causal language model.
        """
        batch["counts"]["answers"] = float(sum(map(len, answers)))
        if not answers:
            self._booked("teacher", lambda: None)  # as other processes do
            return
        own = pad_rows(answers, IGNORE)
        longest = int(batch["attention_mask"][seen].sum(1).max())
        given = batch["input_ids"][seen, :longest], batch["attention_mask"][seen, :longest], own
        asked = to_device(given, teacher.device)
        logits = self._booked("teacher", lambda: aligned_logits(teacher, *asked).float())
        num_rows = len(batch["input_ids"])
        batch["answers"] = own.new_full((num_rows, own.shape[1]), IGNORE)
        batch["answers"][seen] = own
        batch["teacher_logits"] = logits.new_zeros(num_rows, *logits.shape[1:])
        batch["teacher_logits"][seen.to(logits.device)] = logits

    def _booked(self, purpose: str, work: Callable[[], Result]) -> Result:
        """Does work that the loop does not see, and books it."""
        run, began = self.ledger.run, time.monotonic()
        if run is None:
            return work()
        counting = run.measure_flops or run.budget.unit == "flops"
        result, number = flops.count(work) if counting else (work(), 0)
        total = int(run.world.sum([number])[0])
        amounts = {"seconds": run.world.share(time.monotonic() - began)}
        if not self.config.teacher_counts:
            self.beside[_BOOKED.index(purpose)] += total
        elif counting:
            amounts["flops"] = total
        run.book(purpose, **amounts)
        return result

    def book_rest(self) -> None:
        """Books the work that was kept out of the budget."""
        run = self.ledger.run
        if run is not None and self.beside.device.type != "meta" and self.beside.any():
            for purpose, number in zip(_BOOKED, self.beside.tolist(), strict=True):
                if number:
                    run.book(purpose, flops=number)
