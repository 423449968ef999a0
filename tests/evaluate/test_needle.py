"""Needles in haystacks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pretrial.errors import UserError
from pretrial.evaluate.needle import endings, needle_grid
from pretrial.models.tokenizers import learn_bpe

FILLER = ["The village lies by the river and sleeps."] * 40


class Seen(list):
    """A cache: the tokens themselves."""

    def crop(self, tokens: int) -> None:
        del self[tokens:]


class Copier:
    """Predicts the token that followed the last four where they stood first, within its reach."""

    def __init__(self, reach: int) -> None:
        self.reach, self.device = reach, torch.device("cpu")

    def __call__(
        self, input_ids: Any, past_key_values: Any = None, use_cache: bool = True, **_: Any
    ) -> Any:
        cache = Seen() if past_key_values is None else past_key_values
        cache.extend(input_ids[0].tolist())
        ids = list(cache)
        logits = torch.zeros(1, len(ids), 400)
        for place in range(3, len(ids)):
            key = ids[place - 3 : place + 1]
            for at in range(max(3, place - self.reach), place):
                if ids[at - 3 : at + 1] == key:
                    logits[0, place, ids[at + 1]] = 9.0
                    break
        kept = logits[:, len(ids) - input_ids.shape[1] :]
        return SimpleNamespace(logits=kept, past_key_values=cache)


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


def test_a_prompt_read_once_gives_the_scores_of_one_read_again_for_each_answer() -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = LlamaConfig(vocab_size=50, num_attention_heads=4, num_key_value_heads=2, **sizes)
    network = LlamaForCausalLM(config).eval()
    prompt, answers = torch.randint(50, (30,)).tolist(), [[3, 4], [5], [6, 7, 8, 9]]
    found = endings(network, prompt, answers)
    for answer, score in zip(answers, found, strict=True):
        with torch.no_grad():
            logits = network(input_ids=torch.tensor([prompt + answer])).logits[0, 29:]
        chances = logits.log_softmax(-1)[range(len(answer)), answer]
        assert score == pytest.approx(float(chances.mean()), abs=1e-5)


def test_haystacks_need_texts_and_room() -> None:
    tokenizer = learn_bpe(FILLER, 330)
    with pytest.raises(UserError, match="give more"):
        list(needle_grid(Copier(9), tokenizer, FILLER[:1], lengths=(500,)))
    with pytest.raises(UserError, match="no room for a needle"):
        list(needle_grid(Copier(9), tokenizer, FILLER, lengths=(10,)))
