"""Fine-tuning on several numbers of labels within a time; what a step costs is measured first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pretrial.api.advising.looking import Looked
from pretrial.compare.kit.on_labels import pooling_for
from pretrial.evaluate.examples import examples_of
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.method import OneStage
from pretrial.train.run import Run
from pretrial.train.stage import Optim, Stage

SAVE_EVERY = Budget(30, "seconds")
_BATCH = 16
_TEST_RATIO = 0.25  # of the time, for being tested
_LEAST_TESTED = 100
_RESERVE = 1.5  # of the time of a step, for the optimiser's work


class Tuning:
    """Trains classifiers that begin with a method, one for every number of labels.

    Args:
        method: with the ability `classifier`.
        looked: the data.
        from_checkpoint: whether it knows much already: then it learns slowly and for fewer epochs,
            and the vectors of words, half of a small encoder, stay as they are.
    """

    def __init__(self, method: Any, looked: Looked, from_checkpoint: bool) -> None:
        self.method, self.looked, self.from_checkpoint = method, looked, from_checkpoint
        self.lr, self.epochs = (3e-4, 6) if from_checkpoint else (1e-3, 15)  # chosen here
        place = {name: number for number, name in enumerate(looked.classes)}
        targets = [place[str(row["label"])] for row in looked.learn]
        self.pairs = list(zip(examples_of(method, looked.learn), targets, strict=True))
        self.test = examples_of(method, looked.test)
        self.right = np.array([place[str(row["label"])] for row in looked.test])
        self._step, self._asked = self._costs()

    def seconds_for(self, size: int, epochs: float) -> float:
        """Seconds that so many epochs over so many labels take."""
        return epochs * size / _BATCH * self._step

    def affordable(self, sizes: Sequence[int], seconds: float) -> list[int]:
        """The sizes, the largest first, with which there is time for an epoch each.

        The largest is always among them; of the others, the smallest tells most.
        """
        for chosen in (list(sizes), [sizes[0], *sizes[1:][-1:]]):
            steps = sum(size / _BATCH for size in chosen)
            tested = len(chosen) * min(len(self.test), _LEAST_TESTED)
            if steps * self._step + tested * self._asked <= seconds:
                return chosen
        return [sizes[0]]

    def tuned(self, size: int, seconds: float, folder: Path) -> tuple[NDArray[np.bool_], str]:
        """Whether each of the first test rows is told rightly after so many labels and seconds.

        Args:
            size: labels to learn from.
            seconds: for learning and being tested.
            folder: of the run, which goes on there.

        Returns:
            One value for each test row that there was time for, and how long it learnt.
        """
        num_test = affordable_rows(seconds * _TEST_RATIO, self._asked, len(self.test))
        room = max(seconds - num_test * self._asked, 1.0)
        pairs, classifier = self.pairs[:size], self._new()
        steps = max(1, round(self.epochs * size / min(_BATCH, size)))
        whole = steps * self._step <= room
        budget = Budget(steps, "steps") if whole else Budget(room, "seconds")
        optim, batch_size = Optim(lr=self.lr, warmup=0.1), min(_BATCH, len(pairs))
        stage = Stage("finetune", classifier, pairs, budget, optim, batch_size)
        run = Run(folder, pairs, budget=budget, quiet=True, save_every=SAVE_EVERY)
        with closing(run):
            train(OneStage(lambda _: stage), run)
        epochs = run.spent.total("examples") / size
        guesses = classifier.logits(self.test[:num_test]).argmax(-1).numpy()
        return guesses == self.right[:num_test], f"{epochs:.2g} epochs"

    def _new(self) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            how = pooling_for(self.method)
            classifier = self.method.classifier(len(self.looked.classes), **how)
        if self.from_checkpoint:
            for name, parameter in classifier.named_parameters():
                if "word_embeddings" in name:
                    parameter.requires_grad_(False)
        return classifier

    def _costs(self) -> tuple[float, float]:
        """Seconds of a step, and of a row that is asked."""
        classifier, generator = self._new(), torch.Generator().manual_seed(0)
        for pairs in (self.pairs[:2], self.pairs[:_BATCH]):  # the first time is no measure
            began = time.monotonic()
            classifier.losses(classifier.batch(pairs, generator))["loss"].backward()
        step = _RESERVE * (time.monotonic() - began)
        began = time.monotonic()
        classifier.logits(self.test[:_BATCH])
        return step, (time.monotonic() - began) / min(_BATCH, len(self.test))


def affordable_rows(seconds: float, each: float, most: int) -> int:
    """Rows that can be asked in a time, not fewer than tell anything.

    Args:
        seconds: of the time.
        each: seconds of a row.
        most: rows that there are.
    """
    return min(most, max(_LEAST_TESTED, int(seconds / max(each, 1e-9))))
