"""Distillation: answers are drawn, the teacher reads them, and the student learns what it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from pretrial.checkpoints.pretrained import load_generator
from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.methods.text.return_of_encoder.config import Config
from pretrial.models.architectures.seq2seq import pad_rows
from pretrial.models.decoding.sample import sample
from pretrial.train import flops
from pretrial.train.device import to_device
from pretrial.train.stage import Batch

if TYPE_CHECKING:
    from pretrial.train.run import Run

Result = TypeVar("Result")
_BOOKED = ("sample", "teacher")


class _Booking:
    """The run that work is booked in; a copy of a method books it nowhere."""

    def __init__(self, run: Run | None = None) -> None:
        self.run = run

    def __deepcopy__(self, memo: dict[int, Any]) -> _Booking:
        return _Booking()


class Distillation(nn.Module):
    """Draws answers and asks the teacher, in the work of a run.

    Args:
        config: settings.

    Attributes:
        beside: FLOPs of either that are booked when the training is over.
    """

    beside: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self._booking = _Booking()
        self.register_buffer("beside", torch.zeros(len(_BOOKED), dtype=torch.int64))

    @property
    def run(self) -> Run | None:
        """The run that the work is booked in."""
        return self._booking.run

    def book_in(self, run: Run) -> None:
        """Books the work in a run from now on."""
        self._booking = _Booking(run)

    def draws(self, number: int, generator: torch.Generator) -> Tensor:
        """Numbers in [0, 1) that answers are drawn with [number, longest answer]."""
        longest = self.config.max_target
        return torch.stack([torch.rand(longest, generator=generator) for _ in range(number)])

    @torch.no_grad()
    def answers(self, student: Any, sources: Sequence[list[int]], draws: Tensor) -> list[list[int]]:
        """The student's own answers.

        Args:
            student: a `LanguageModel`.
            sources: token ids.
            draws: see `draws`.
        """
        run = self.run
        with run.whole() if run is not None else nullcontext():
            return self._booked(
                "sample",
                lambda: draw_answers(
                    student.network,
                    sources,
                    draws,
                    end=student.end,
                    pad=student.pad,
                    temperature=self.config.temperature,
                    top_k=self.config.top_k,
                    num_tokens=len(student.tokenizer),
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
        given = to_device(given, teacher.device)
        logits = self._booked("teacher", lambda: aligned_logits(teacher, *given).float())
        num_rows = len(batch["input_ids"])
        batch["answers"] = own.new_full((num_rows, own.shape[1]), IGNORE)
        batch["answers"][seen] = own
        batch["teacher_logits"] = logits.new_zeros(num_rows, *logits.shape[1:])
        batch["teacher_logits"][seen.to(logits.device)] = logits

    def _booked(self, purpose: str, work: Callable[[], Result]) -> Result:
        """Does work that the loop does not see, and books it."""
        run, began = self.run, time.monotonic()
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
        run = self.run
        if run is not None and self.beside.device.type != "meta" and self.beside.any():
            for purpose, number in zip(_BOOKED, self.beside.tolist(), strict=True):
                if number:
                    run.book(purpose, flops=number)


def aligned_logits(
    network: Any, input_ids: Tensor, attention_mask: Tensor, answers: Tensor
) -> Tensor:
    """What a causal language model predicts at each token of an answer to a source.

    It reads [padding, source, answer], positions counted without the padding. The last token of the
    source predicts the first of the answer, and so on.

    Args:
        network: of transformers.
        input_ids: sources, padded on the right [B, S].
        attention_mask: 1 at their tokens [B, S].
        answers: token ids, -100 behind their end [B, U].

    Returns:
        [B, U, V]; at the padding of an answer they mean nothing.
    """
    length = input_ids.shape[1]
    padding = length - attention_mask.sum(1, keepdim=True)  # [B, 1]
    origin = torch.arange(length, device=input_ids.device) - padding  # [B, S]
    sources = input_ids.gather(1, origin.clamp(min=0))
    mask = torch.cat([origin >= 0, answers != IGNORE], dim=1)  # [B, S + U]
    ids = torch.cat([sources, answers.clamp(min=0)], dim=1)
    places = (mask.long().cumsum(1) - 1).clamp(min=0)
    return network(
        input_ids=ids[:, :-1],
        attention_mask=mask[:, :-1].long(),
        position_ids=places[:, :-1],
        logits_to_keep=answers.shape[1],
        use_cache=False,
    ).logits


def draw_answers(
    network: Any,
    sources: Sequence[list[int]],
    draws: Tensor,
    *,
    end: int,
    pad: int,
    temperature: float,
    top_k: int,
    num_tokens: int,
) -> list[list[int]]:
    """The student's own answers to all sources, decoded together.

    Args:
        network: of the student, causal or not.
        sources: token ids.
        draws: numbers in [0, 1), one a token [B, most tokens].
        end: the end token; an answer ends with it unless it was too long.
        pad: fills the shorter sources.
        temperature: of the drawing.
        top_k: tokens drawn from; 0 for all.
        num_tokens: entries that student and teacher share; the end token stands in for others,
            which only a model with more embeddings than its tokenizer has entries can draw.
    """
    if not sources:
        return []
    longest = draws.shape[1]
    groups = sample(
        network,
        sources,
        num_samples=1,
        max_new_tokens=longest,
        eos_token_id=end,
        pad_token_id=pad,
        temperature=temperature,
        top_k=top_k,
        draws=draws,
    )
    answers = []
    for (ids,) in groups:
        known = [token if token < num_tokens else end for token in ids]
        answers.append(known if len(known) == longest else [*known, end])
    return answers


def load_teacher(source: str, tokenizer: Any) -> tuple[Any, Any]:
    """A causal language model and its tokenizer.

    Args:
        source: as `load_generator` takes it.
        tokenizer: of the student, with which its own must agree; None where there is none yet.

    Raises:
        UserError: it has an encoder, or numbers its tokens otherwise.
    """
    with torch.device("cpu"):  # also where the student has shapes alone
        network, own = load_generator(source)
    if network.config.is_encoder_decoder:
        raise UserError(
            f"the teacher {source} is a {network.config.model_type}, which has an encoder: name a"
            " causal language model"
        )
    if own.eos_token_id is None:
        raise UserError(f"the tokenizer of the teacher {source} has no end token: give it one")
    if tokenizer is not None:
        check_same_tokens(tokenizer, own, source)
    return network, own


def check_same_tokens(student: Any, teacher: Any, source: str) -> None:
    """Makes sure that a token means the same to both; either may have further ones at its end.

    Raises:
        UserError: the first token that differs.
    """
    ours = {number: token for token, number in student.get_vocab().items()}
    theirs = {number: token for token, number in teacher.get_vocab().items()}
    shared = min(max(ours), max(theirs)) + 1
    for number in range(shared):
        if ours.get(number) != theirs.get(number):
            raise UserError(
                f"the teacher {source} has another tokenizer than the student (token {number} is"
                f" {theirs.get(number)!r} there and {ours.get(number)!r} here): name a teacher with"
                " the student's tokenizer, or leave out --init to begin with the teacher's"
            )
    if student.eos_token_id != teacher.eos_token_id:
        raise UserError(
            f"the teacher {source} ends texts with {teacher.eos_token!r} and the student with"
            f" {student.eos_token!r}: give them one end token"
        )
