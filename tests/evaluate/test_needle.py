"""Needles in haystacks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pretrial.errors import UserError
from pretrial.evaluate.needle import needle_grid
from pretrial.models.tokenizers import learn_bpe

FILLER = ["The village lies by the river and sleeps."] * 40


class Copier:
    """Predicts the token that followed the last two where they stood first, within its reach."""

    def __init__(self, reach: int) -> None:
        self.reach, self.device = reach, torch.device("cpu")

    def __call__(self, input_ids: Any) -> Any:
        ids = input_ids[0].tolist()
        logits = torch.zeros(1, len(ids), 400)
        for place in range(3, len(ids)):
            key = ids[place - 3 : place + 1]
            for at in range(max(3, place - self.reach), place):
                if ids[at - 3 : at + 1] == key:
                    logits[0, place, ids[at + 1]] = 9.0
                    break
        return SimpleNamespace(logits=logits)


def test_a_model_that_copies_finds_what_is_within_its_reach() -> None:
    tokenizer = learn_bpe(FILLER, 330, split_digits=True)
    options: dict[str, Any] = {"depths": (0.0, 1.0), "num_trials": 3}
    grid = list(needle_grid(Copier(10_000), tokenizer, FILLER, lengths=(150, 300), **options))
    assert [(row["length"], row["depth"]) for row in grid] == [
        (150, 0.0),
        (150, 1.0),
        (300, 0.0),
        (300, 1.0),
    ]
    assert {row["accuracy"] for row in grid} == {1.0}
    near = list(needle_grid(Copier(100), tokenizer, FILLER, lengths=(300,), **options))
    assert near[0]["accuracy"] == 0.0
    assert near[1]["accuracy"] == 1.0


def test_haystacks_need_texts_and_room() -> None:
    tokenizer = learn_bpe(FILLER, 330)
    with pytest.raises(UserError, match="give more"):
        list(needle_grid(Copier(9), tokenizer, FILLER[:1], lengths=(500,)))
    with pytest.raises(UserError, match="no room for a needle"):
        list(needle_grid(Copier(9), tokenizer, FILLER, lengths=(10,)))
