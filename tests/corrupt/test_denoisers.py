"""Denoisers: what they hide, how much of it, and that nothing is lost."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from pretrial.corrupt.denoisers import Denoiser, MixtureOfDenoisers, denoise, raw_length
from pretrial.corrupt.draws import row_seeds
from pretrial.errors import UserError

SENTINELS = list(range(5000, 5200))
SEVEN = ("3:0.15", "8:0.15", "S:0.25", "3:0.5", "8:0.5", "64:0.15", "64:0.5")


def seeds(number, seed=0):
    return row_seeds(number, torch.Generator().manual_seed(seed))


def mixture(members=SEVEN, weights=(), **options):
    options = {
        "heads": {},
        "max_inputs": 512,
        "max_targets": 512,
        "joined": False,
        "t5_spans": False,
    } | options
    parsed = [Denoiser.parse(text) for text in members]
    return MixtureOfDenoisers(parsed, weights, SENTINELS, **options)


def restored(pair):
    """The raw text: each sentinel of the inputs gives way to what follows it in the targets."""
    spans, place = {}, None
    for token in pair.targets:
        if token in SENTINELS:
            place = token
            spans[place] = []
        elif place is not None:
            spans[place].append(token)
    if place is None:  # one final span
        return [*pair.inputs, *pair.targets]
    return [t for token in pair.inputs for t in spans.get(token, [token])]


@pytest.mark.parametrize("text", [*SEVEN, "S:1"])
@pytest.mark.parametrize("t5_spans", [True, False])
def test_inputs_and_targets_reassemble_the_text(text, t5_spans):
    rows = [list(range(length)) for length in (1, 2, 3, 7, 20, 65, 120)]
    pairs = denoise(
        rows, [Denoiser.parse(text)] * len(rows), SENTINELS, seeds(len(rows)), t5_spans=t5_spans
    )
    assert [restored(pair) for pair in pairs] == rows


@pytest.mark.parametrize("text", [t for t in SEVEN if t != "S:0.25"])
def test_ratio_and_mean_length_hold_over_texts(text):
    member = Denoiser.parse(text)
    length = raw_length(member, 512, 512, 200)
    pairs = denoise([list(range(length))] * 2000, [member] * 2000, SENTINELS, seeds(2000))
    marks = sum(token in SENTINELS for pair in pairs for token in pair.targets)
    hidden = sum(len(pair.targets) for pair in pairs) - marks
    assert hidden / (2000 * length) == pytest.approx(member.ratio, rel=0.03)
    assert hidden / marks == pytest.approx(member.mean_length, rel=0.03)


def test_prefix_denoiser_hides_one_final_span_of_uniform_length():
    pairs = denoise([list(range(100))] * 2000, [Denoiser(0.25)] * 2000, SENTINELS, seeds(2000))
    sizes = np.array([len(pair.targets) for pair in pairs])
    drawn = list(zip(pairs, sizes, strict=True))
    for pair, size in drawn:
        assert pair.targets == list(range(100 - size, 100))
        assert pair.inputs == list(range(100 - size))
    assert sizes.mean() / 100 == pytest.approx(0.25, rel=0.03)
    assert (sizes.min(), sizes.max()) == (1, 49)
    assert np.histogram(sizes, bins=7, range=(1, 50))[0].min() > 200


def test_spans_have_a_visible_token_between_them_and_may_stand_anywhere():
    pairs = denoise([list(range(10))] * 500, [Denoiser(0.5, 2.0)] * 500, SENTINELS, seeds(500))
    for pair in pairs:
        marks = [token in SENTINELS for token in pair.inputs]
        assert not any(one and other for one, other in pairwise(marks))
    first = [pair.inputs[0] in SENTINELS for pair in pairs]
    last = [pair.inputs[-1] in SENTINELS for pair in pairs]
    assert 0.2 < np.mean(first) < 0.8
    assert 0.2 < np.mean(last) < 0.8


def t5_reference(length, spans, text, sentinels):
    """T5's packing of given spans, from its paper: each becomes a sentinel, targets name it."""
    inputs, targets, place = [], [], 0
    for (start, end), mark in zip(spans, sentinels, strict=False):
        inputs += [*text[place:start], mark]
        targets += [mark, *text[start:end]]
        place = end
    return inputs + text[place:length], targets


def test_one_denoiser_packs_as_t5_does_token_for_token():
    member = Denoiser(0.15, 3.0)
    length = raw_length(member, 512, 114, 100, t5_spans=True)
    assert length == 568
    text = list(range(length))
    for pair in denoise([text] * 20, [member] * 20, SENTINELS, seeds(20), t5_spans=True):
        assert len(pair.inputs) + 1 == 512
        assert len(pair.targets) + 1 == 114
        hidden = sorted(set(text) - set(pair.inputs))
        edges = np.flatnonzero(np.diff(hidden) > 1) + 1
        spans = [(int(p[0]), int(p[-1]) + 1) for p in np.split(np.array(hidden), edges)]
        assert len(spans) == round(round(0.15 * length) / 3)
        assert 0 not in hidden  # T5 begins visible
        assert length - 1 in hidden  # and ends hidden
        assert (pair.inputs, pair.targets) == t5_reference(length, spans, text, SENTINELS)


def t5_segments(total, parts, rng):
    """Lengths of 1 or more that sum to `total`, all equally likely: cuts between the items."""
    cuts = np.sort(rng.choice(total - 1, parts - 1, replace=False)) + 1
    return np.diff([0, *cuts, total])


def test_spans_of_t5_are_where_t5_draws_them():
    rng, length, hidden, spans = np.random.default_rng(0), 20, 6, 3
    wanted = np.zeros(length)
    for _ in range(4000):  # visible and hidden stretches take turns, a visible one first
        stretches = zip(
            t5_segments(length - hidden, spans, rng), t5_segments(hidden, spans, rng), strict=True
        )
        places = np.cumsum([size for pair in stretches for size in pair])
        for start, end in zip(places[::2], places[1::2], strict=True):
            wanted[start:end] += 1 / 4000
    found = np.zeros(length)
    rows = [list(range(length))] * 4000
    for pair in denoise(rows, [Denoiser(0.3, 2.0)] * 4000, SENTINELS, seeds(4000), t5_spans=True):
        found[[token for token in pair.targets if token < length]] += 1 / 4000
    assert found == pytest.approx(wanted, abs=0.04)


def test_t5_rounding_makes_one_final_span_of_a_long_one():
    member = Denoiser(0.15, 64.0)
    length = raw_length(member, 512, 512, 100, t5_spans=True)
    pairs = denoise([list(range(length))] * 50, [member] * 50, SENTINELS, seeds(50), t5_spans=True)
    assert {tuple(pair.inputs[-1:]) for pair in pairs} == {(SENTINELS[0],)}
    ours = denoise([list(range(length))] * 50, [member] * 50, SENTINELS, seeds(50))
    assert sum(pair.inputs[-1] in SENTINELS for pair in ours) < 5
    assert {len(set(pair.inputs) & set(SENTINELS)) for pair in ours} == {1, 2}


@pytest.mark.parametrize("text", [*SEVEN, "S:1"])
@pytest.mark.parametrize("joined", [True, False])
def test_raw_length_is_the_longest_that_always_fits(text, joined):
    member = Denoiser.parse(text)
    length = raw_length(member, 60, 40, 100, joined=joined)
    pairs = denoise([list(range(length))] * 300, [member] * 300, SENTINELS, seeds(300))
    if joined:
        assert max(len(p.inputs) + len(p.targets) + 2 for p in pairs) in (99, 100)
    else:
        inputs = max(len(pair.inputs) + 1 for pair in pairs)
        targets = max(len(pair.targets) + 1 for pair in pairs)
        assert inputs <= 60
        assert targets <= 40
        assert inputs >= 59 or targets >= 39


def test_few_sentinels_shorten_the_text_and_are_never_used_twice():
    member = Denoiser.parse("3:0.5")
    assert raw_length(member, 1024, 1024, 1000) > raw_length(member, 1024, 1024, 100)
    length = raw_length(member, 1024, 1024, 100)
    pairs = denoise([list(range(length))] * 50, [member] * 50, SENTINELS[:100], seeds(50))
    for pair in pairs:
        marks = [token for token in pair.inputs if token in SENTINELS]
        assert marks == SENTINELS[: len(marks)]
    with pytest.raises(UserError, match=r"171 spans .* only 100 sentinels: shorten"):
        denoise([list(range(1024))], [member], SENTINELS[:100], seeds(1), t5_spans=True)


def test_paradigms_follow_the_rule():
    kinds = [Denoiser.parse(text).paradigm for text in SEVEN]
    assert kinds == ["R", "R", "S", "X", "X", "X", "X"]
    assert Denoiser(0.15, 12.0).paradigm == "X"
    assert Denoiser(0.29, 11.0).paradigm == "R"


def test_mixture_draws_its_members_by_their_weights_and_puts_their_head_in_front():
    heads = {"R": [1], "S": [2], "X": [3]}
    made = mixture(("3:0.15", "S:0.25", "8:0.5"), (1, 2, 1), heads=heads)
    windows = [list(range(10, 90))] * 2000
    pairs = made.pairs(windows, torch.Generator().manual_seed(0))
    shares = np.bincount([pair.inputs[0] for pair in pairs], minlength=4)[1:] / 2000
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    for pair in pairs:
        assert any(token in SENTINELS for token in pair.targets) == (pair.inputs[0] != 2)
    assert len({len(pair.targets) for pair in pairs if pair.inputs[0] == 1}) <= 2


def test_mixture_draws_the_same_for_a_batch_and_its_parts():
    made, windows = mixture(), [list(range(900))] * 12
    whole = made.pairs(windows, torch.Generator().manual_seed(3))
    source = torch.Generator().manual_seed(3)
    assert whole == [p for at in range(0, 12, 5) for p in made.pairs(windows[at : at + 5], source)]


def test_each_member_takes_its_own_length_anywhere_in_the_window():
    made = mixture(("3:0.15",))
    window = list(range(2 * made.window))
    pairs = made.pairs([window] * 200, torch.Generator().manual_seed(0))
    raw = [restored(pair) for pair in pairs]
    assert {len(text) for text in raw} == {made.window}
    assert all(text == list(range(text[0], text[0] + made.window)) for text in raw)
    assert min(text[0] for text in raw) < 30
    assert max(text[0] for text in raw) > made.window - 30


@pytest.mark.parametrize("text", ["3", "x:0.1", "3:2", "3:0", "0:0.1", "3:nan"])
def test_what_is_no_denoiser_is_refused(text):
    with pytest.raises(UserError, match="denoiser"):
        Denoiser.parse(text)


def test_impossible_requests_name_the_mend():
    with pytest.raises(UserError, match="leave empty texts out"):
        denoise([[]], [Denoiser(0.5)], SENTINELS, seeds(1))
    with pytest.raises(UserError, match="raise them"):
        raw_length(Denoiser(0.15, 3.0), 2, 2, 10)
    with pytest.raises(UserError, match="as many weights"):
        mixture(weights=(1, 2))
