"""Noise: what it does can be undone, is exact in number, and stays off what must not be touched."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, poisson

from pretrial.corrupt.draws import row_seeds
from pretrial.corrupt.masks import IGNORE
from pretrial.corrupt.noise import (
    fill_in,
    local_shuffle,
    random_replacement,
    text_infilling,
    unshuffle,
)
from pretrial.errors import UserError

MASK = 4


def seeds(num_rows, seed=0):
    return row_seeds(num_rows, torch.Generator().manual_seed(seed))


def infill(rows, seed=0, **options):
    return text_infilling(rows, seeds(len(rows), seed), mask_id=MASK, **options)


def some_ids(num_rows=20, length=40):
    rng = np.random.default_rng(0)
    ids = rng.integers(10, 60, (num_rows, length))
    free = rng.random(ids.shape) > 0.2
    return ids, free


# -- text infilling -------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.15, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("length", [1, 2, 7, 150])
def test_masks_and_spans_give_the_original_back(ratio, length):
    rows = [list(range(10, 10 + length))] * 30
    for row, infilled in zip(rows, infill(rows, ratio=ratio), strict=True):
        assert fill_in(infilled, MASK) == row
        assert sum(map(len, infilled.spans)) == max(1, round(ratio * length))
        assert infilled.inputs.count(MASK) == len(infilled.spans)
        assert len(infilled.inputs) <= length


def test_two_masks_never_touch_where_there_is_room():
    rows = [list(range(10, 110))] * 50
    for infilled in infill(rows, ratio=0.3):
        assert (MASK, MASK) not in pairwise(infilled.inputs)


def test_lengths_follow_the_poisson_law_and_some_spans_are_empty():
    lengths = np.array(
        [
            len(span)
            for infilled in infill([list(range(10, 2010))] * 20, ratio=0.3)
            for span in infilled.spans
        ]
    )
    counts = np.bincount(np.minimum(lengths, 9), minlength=10)
    law = np.array([*poisson(3).pmf(range(9)), poisson(3).sf(8)])
    assert counts[0] > 0
    assert chisquare(counts, law * len(lengths)).pvalue > 0.001


def test_spans_begin_anywhere():
    starts = [i.inputs.index(MASK) for i in infill([list(range(10, 20))] * 4000, ratio=0.1)]
    counts = np.bincount(starts, minlength=10)
    assert counts.min() > 0.8 * 400
    assert counts.max() < 1.2 * 400


def test_whole_words_are_hidden():
    words = [True, False, True, True, False, False, True, True] * 5
    row = list(range(10, 10 + len(words)))
    begins = {token for token, first in zip(row, words, strict=True) if first}
    for infilled in infill([row] * 30, ratio=0.3, word_starts=[words] * 30):
        assert fill_in(infilled, MASK) == row
        for span in infilled.spans:
            assert not span or span[0] in begins
            assert not span or span[-1] + 1 in begins or span[-1] == row[-1]


def test_a_row_does_not_depend_on_its_neighbours():
    rows = [list(range(10, 30)), list(range(40, 47)), list(range(10, 50))]
    own = seeds(3)
    together = text_infilling(rows, own, mask_id=MASK)
    assert [text_infilling([r], own[i : i + 1], mask_id=MASK)[0] for i, r in enumerate(rows)] == (
        together
    )


def test_an_empty_text_is_refused():
    with pytest.raises(UserError, match="leave empty texts out"):
        infill([[5, 6], []])


# -- shuffles -------------------------------------------------------------------------------------


def test_a_shuffle_can_be_undone_and_moves_free_tokens_only():
    ids, free = some_ids()
    shuffled = local_shuffle(ids, free, seeds(len(ids)), ratio=0.2)
    assert (unshuffle(shuffled) == ids).all()
    assert shuffled.moved.any()
    assert not shuffled.moved[~free].any()
    assert (shuffled.moved == (shuffled.inputs != ids)).all()
    assert (np.abs(shuffled.origin - np.arange(ids.shape[1])) <= 2).all()
    assert (np.sort(shuffled.inputs, 1) == np.sort(ids, 1)).all()


def test_every_order_of_a_window_is_as_likely():
    ids = np.tile(np.array([[7, 8, 9]]), (6000, 1))
    shuffled = local_shuffle(ids, np.ones_like(ids, dtype=bool), seeds(6000), ratio=0.34)
    orders, counts = np.unique(shuffled.inputs, axis=0, return_counts=True)
    assert len(orders) == 6
    assert counts.min() > 880
    assert counts.max() < 1120


def test_windows_that_touch_what_must_stay_are_left_out():
    ids = np.arange(10, 22)[None]
    free = np.ones_like(ids, dtype=bool)
    free[0, 2::3] = False
    shuffled = local_shuffle(ids, free, seeds(1), ratio=0.5)
    assert (shuffled.inputs == ids).all()
    short = np.array([[5, 6]])
    assert (local_shuffle(short, short > 0, seeds(1), ratio=0.5).inputs == short).all()


# -- replacements ---------------------------------------------------------------------------------


def test_replacements_are_exact_in_number_differ_and_can_be_undone():
    ids, free = some_ids()
    random_ids = np.arange(10, 60)
    replaced = random_replacement(ids, free, seeds(len(ids)), ratio=0.1, random_ids=random_ids)
    changed = replaced.inputs != ids
    assert (changed == (replaced.labels != IGNORE)).all()
    assert not changed[~free].any()
    assert (changed.sum(1) == np.rint(0.1 * free.sum(1))).all()
    assert (np.where(changed, replaced.labels, replaced.inputs) == ids).all()


def test_every_other_token_is_as_likely():
    ids = np.full((6000, 1), 12)
    free = np.ones_like(ids, dtype=bool)
    replaced = random_replacement(ids, free, seeds(6000), ratio=1.0, random_ids=np.arange(10, 16))
    tokens, counts = np.unique(replaced.inputs, return_counts=True)
    assert tokens.tolist() == [10, 11, 13, 14, 15]
    assert chisquare(counts).pvalue > 0.001
