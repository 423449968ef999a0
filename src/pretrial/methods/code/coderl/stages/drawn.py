"""The programs that the steps of the last phase take, sampled anew as the actor learns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from pretrial.methods.code.coderl.data.samples import Sample
from pretrial.methods.code.coderl.stages.experience import Experience
from pretrial.methods.code.coderl.stages.reinforce import Weighted
from pretrial.train.batches import Order
from pretrial.train.seeds import seed_of


class Drawn(Sequence[Weighted]):
    """The programs of the last phase, position by position of its stream.

    Those sampled from the warm actor serve the first `round_length` positions; then each
    `round_length` positions are served by programs sampled anew (`Config.resample_every`). A round
    with fewer programs than positions goes round them again, in another random order. With
    `replay` a round's programs are those of all samplings until then. A sampling that a budget in
    seconds does not allow any more is left out.

    Args:
        experience: samples and weighs.
        first: the programs of the first round.
        samples: what they are made of.
        batch_size: positions a step.
        num_steps: of the stage, as far as they are known; positions beyond begin anew.
    """

    def __init__(
        self,
        experience: Experience,
        first: list[Weighted],
        samples: Sequence[Sample],
        batch_size: int,
        num_steps: int,
    ) -> None:
        self.experience = experience
        self.known = [list(samples)]  # by round, where a round depends on those before it
        self.first = first
        self.batch_size = batch_size
        self.length = batch_size * num_steps
        self.round_length = batch_size * (experience.config.resample_every or num_steps)
        self._turn_to(0, begins=False)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: Any) -> Any:
        round_, place = divmod(position, self.round_length)
        if round_ != self._round:
            self._turn_to(round_, begins=place < self.batch_size)
        return self._programs[self._order.take(place, 1)[0]]

    def _turn_to(self, round_: int, begins: bool) -> None:
        experience, programs = self.experience, self.first
        if round_:
            samples = self._samples(round_, begins)
            programs = experience.weighted(samples) or self._nothing()
        seed = seed_of(experience.run.seed, "drawn", round_)
        self._round, self._programs = round_, programs
        self._order = Order(len(programs), seed, shuffle=True)

    def _samples(self, round_: int, book: bool) -> list[Sample]:
        """What a round draws from; the rounds before are read from the disk by a run that goes on.

        A round of all problems without replay depends on no other.
        """
        config = self.experience.config
        while not self.experience.affords(round_):
            round_, book = round_ - 1, False
        if not round_:
            return self.known[0]
        if config.explore == "all" and not config.replay:
            return self.experience.resample(round_, book)
        for turn in range(len(self.known), round_ + 1):
            before = list(chain.from_iterable(self.known))
            self.known.append(self.experience.resample(turn, book and turn == round_, before))
        rounds = self.known[: round_ + 1] if config.replay else [self.known[round_]]
        return list(chain.from_iterable(rounds))

    def _nothing(self) -> list[Weighted]:
        """One program without weight, for a round in which none had an outcome of its own."""
        program = self.first[0]
        return [Weighted(program.source, program.target, [0.0] * len(program.target))]
