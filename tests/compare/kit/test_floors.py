"""Trivial answers are what their formulas say."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from pretrial.compare.kit import packages
from pretrial.compare.kit.choices import one_hidden
from pretrial.compare.kit.edited_texts import Reader, copied_losses
from pretrial.compare.kit.floors import (
    ByteTrigrams,
    TokenCounts,
    counts_arms,
    tfidf_arm,
    trigram_arm,
)
from pretrial.compare.kit.masked_scores import masked_scores
from pretrial.compare.trial import Context, Data
from pretrial.evaluate.perplexity import bits_per_byte
from pretrial.methods.text import mlm
from pretrial.models.architectures.framed_texts import Frame


def test_probabilities_by_hand() -> None:
    counted = ByteTrigrams(["ab"])
    nll, sizes = counted.nll(["a"])
    # one of two bytes, one of one after \0 and after \0\0
    one = (1 + 2 / 256) / (2 + 2)
    two = (1 + 1 * one) / (1 + 1)
    three = (1 + 1 * two) / (1 + 1)
    assert nll == [pytest.approx(-math.log(three))]
    assert sizes == [1]


def test_probabilities_sum_to_one() -> None:
    import numpy as np

    counted = ByteTrigrams(["some text, and some more", "ünï"])
    sums = np.exp(-counted._nll).sum(axis=-1)
    assert sums.min() == pytest.approx(1.0)
    assert sums.max() == pytest.approx(1.0)


def test_an_arm_is_measured_like_a_language_model() -> None:
    rows = [{"text": "the cat sat on the mat. " * 20}]
    arm = trigram_arm()
    assert arm.run is not None
    counted = arm.run(Context(None, Data(train=rows), None))  # type: ignore[arg-type]
    known, unknown = bits_per_byte(counted, ["the cat sat on the mat.", "zzqxjkvbzq"])
    assert known < 2 < 8 < unknown + 3


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return mlm.MLM.vocabulary(mlm.Config.tiny(), ["the cat sat on the mat, the cat sat"])


@pytest.mark.parametrize("neighbours", [False, True])
def test_hidden_tokens_by_hand(tokenizer: Any, neighbours: bool) -> None:
    texts = ["the cat sat", "the mat", "a cat"]
    counted = TokenCounts(texts, tokenizer, 24, neighbours=neighbours)
    windows = [[tokenizer.cls_token_id, *tokenizer(text)["input_ids"][1:-1], tokenizer.sep_token_id]
               for text in texts]  # fmt: skip
    ordinary = [i for i in range(len(tokenizer)) if i not in tokenizer.all_special_ids]
    tokens = Counter(i for window in windows for i in window if i in ordinary)
    pairs = Counter(pair for window in windows for pair in itertools.pairwise(window))

    def share(token: int) -> float:
        kinds = len(tokens)
        return (tokens[token] + kinds / len(ordinary)) / (tokens.total() + kinds)

    def beside(neighbour: int, token: int, behind: bool) -> float:
        own = {i: pairs[(neighbour, i) if behind else (i, neighbour)] for i in ordinary}
        total, kinds = sum(own.values()), max(1, sum(n > 0 for n in own.values()))
        return (own[token] + kinds * share(token)) / (total + kinds)

    ids = tokenizer("the cat")["input_ids"]
    batch = one_hidden([ids[1:-1]], tokenizer)
    place = int(batch["loss_mask"][0].nonzero())

    def wanted(token: int) -> float:
        if not neighbours:
            return share(token)
        left, right = beside(ids[place - 1], token, True), beside(ids[place + 1], token, False)
        return left * right / share(token)

    total = sum(wanted(token) for token in ordinary)
    found = counted.logits(batch).softmax(-1)[0]
    for token in ordinary:
        assert float(found[token]) == pytest.approx(wanted(token) / total, rel=1e-6)
    assert float(found[tokenizer.all_special_ids].sum()) == 0.0


def test_a_hidden_neighbour_says_nothing(tokenizer: Any) -> None:
    counted = TokenCounts(["the cat sat", "the mat"], tokenizer, 24)
    batch = one_hidden([tokenizer("the cat sat on the mat")["input_ids"][1:-1]], tokenizer)
    everything = batch["loss_mask"].clone()
    everything[0, 1:-1] = True
    found = counted.logits({**batch, "loss_mask": everything}).softmax(-1)
    alone = TokenCounts(["the cat sat", "the mat"], tokenizer, 24, neighbours=False)
    shares = alone.logits({**batch, "loss_mask": everything}).softmax(-1)
    assert torch.allclose(found[1:-1], shares[1:-1])  # the first and the last see an end


def test_counts_are_measured_like_a_masked_language_model(tokenizer: Any) -> None:
    rows = [{"text": "the cat sat on the mat. " * 5}]
    values = {}
    for arm in counts_arms("mlm", mlm.Config.tiny()):
        assert arm.run is not None
        counted = arm.run(Context(None, Data(train=rows), None))  # type: ignore[arg-type]
        found = masked_scores(counted, [rows[0]["text"]], 24, ["m"])["mlm_loss"]
        assert set(found.groups) == {"m"}
        values[arm.name] = sum(found.values) / len(found.values)
    assert values["neighbours"] < values["shares"] - 0.5


def test_tfidf_is_measured_like_an_encoder() -> None:
    sides = [
        [{"text": f"{word} number {i}", "label": word, "module": f"{word}{i % 5}"}
         for word in ("tree", "sock") for i in range(start, start + 20)]
        for start in (0, 20)
    ]  # fmt: skip
    arm = tfidf_arm()
    assert arm.run is not None
    counted = arm.run(Context(None, Data(train=sides[0]), None))  # type: ignore[arg-type]
    for task in ("classify", "probe"):
        found: Any = packages.measure(counted, (sides[0], sides[1]), 0, num_labels=20, task=task)
        assert set(found["accuracy"].values) == {1.0}
        assert max(found["probe_nll"].values) < math.log(2)


def test_who_copies_pays_for_what_is_hidden(tokenizer: Any) -> None:
    counted = TokenCounts(["the cat sat", "the mat"], tokenizer, 24)
    special = np.array(tokenizer.all_special_ids)
    reader = Reader(counted, Frame([], []), [], special, np.arange(300), 22)
    (window,) = (tokenizer("the mat the cat sat")["input_ids"][1:-1],)
    costs = -counted.shares[window]

    def found(ratio: float) -> float:
        (value,) = copied_losses(reader, ["the mat the cat sat"], 2, 1, ratio, 3.0)
        return value

    assert found(1.0) == pytest.approx(costs.sum() / (len(window) + 2))  # all is hidden
    assert 0 < found(0.2) < found(1.0)
