"""Span corruption: invertible, exact in number, lawful in length, whole words on request."""

from itertools import pairwise

import pytest
import torch

from pretrial.corrupt.spans import span_corruption, span_corruption_batch
from pretrial.errors import UserError

SENTINELS = list(range(1000, 1100))
EOS = 1


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def hidden_spans(labels):
    """Maps each sentinel to the ids it stands for."""
    spans = {}
    for token in labels:
        if token in SENTINELS:
            current = spans.setdefault(token, [])
        elif token != EOS:
            current.append(token)
    return spans


def restore(inputs, labels):
    spans = hidden_spans(labels)
    return [t for token in inputs if token != EOS for t in spans.get(token, [token])]


@pytest.mark.parametrize("law", ["uniform", "geometric"])
@pytest.mark.parametrize("ratio", [0.15, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("length", [1, 2, 7, 150])
def test_inputs_and_labels_give_the_original_back(law, ratio, length):
    ids = list(range(10, 10 + length))
    for seed in range(20):
        inputs, labels = span_corruption(
            ids, SENTINELS, ratio, law=law, generator=generator(seed), eos=EOS
        )
        assert restore(inputs, labels) == ids
        assert inputs[-1] == labels[-1] == EOS
        num_hidden = sum(map(len, hidden_spans(labels).values()))
        assert num_hidden == max(1, round(ratio * length))


def test_sentinels_come_in_order_and_never_touch():
    for seed in range(50):
        inputs, labels = span_corruption(
            torch.arange(10, 110), SENTINELS, 0.5, generator=generator(seed)
        )
        used = [token for token in inputs if token in SENTINELS]
        assert used == [token for token in labels if token in SENTINELS]
        assert used == SENTINELS[: len(used)]
        assert not any(a in SENTINELS and b in SENTINELS for a, b in pairwise(inputs))


def drawn_lengths(law):
    lengths = []
    for seed in range(300):
        _, labels = span_corruption(range(10, 410), SENTINELS, law=law, generator=generator(seed))
        lengths += [len(span) for span in hidden_spans(labels).values()]
    return torch.tensor(lengths, dtype=torch.float)


def test_uniform_lengths_are_one_to_five_and_about_equally_frequent():
    lengths = drawn_lengths("uniform")
    shares = torch.bincount(lengths.long()) / len(lengths)
    assert len(shares) == 6
    # One span in each sequence of about twenty is cut to fit, which favours the short ones.
    assert torch.allclose(shares[1:], torch.full((5,), 0.2), atol=0.03)


def test_geometric_lengths_have_the_mean_and_the_tail():
    lengths = drawn_lengths("geometric")
    assert lengths.mean().item() == pytest.approx(3.0, abs=0.25)
    assert (lengths == 1).float().mean().item() == pytest.approx(1 / 3, abs=0.05)
    assert lengths.max() > 8


def test_positions_are_hidden_equally_often():
    counts = torch.zeros(20)
    for seed in range(4000):
        _, labels = span_corruption(range(20), SENTINELS, mean_length=1, generator=generator(seed))
        counts[[token for token in labels if token < 20]] += 1
    # 3 spans of one token in 18 slots: an end is its slot alone, the rest share what remains.
    expected = torch.full((20,), (3 - 2 * 3 / 18) / 18)
    expected[[0, -1]] = 3 / 18
    assert torch.allclose(counts / 4000, expected, atol=0.02)


def test_whole_words_are_hidden_whole():
    word_starts = [i % 4 == 0 for i in range(80)]
    for seed in range(20):
        ids = list(range(10, 90))
        inputs, labels = span_corruption(
            ids, SENTINELS, generator=generator(seed), word_starts=word_starts
        )
        assert restore(inputs, labels) == ids
        for span in hidden_spans(labels).values():
            assert (span[0] - 10) % 4 == 0
            assert len(span) % 4 == 0
        assert sum(map(len, hidden_spans(labels).values())) == 4 * 3  # 15 % of 20 words


def test_the_generator_decides_everything():
    once = span_corruption(range(100), SENTINELS, generator=generator(3))
    torch.manual_seed(99)
    assert span_corruption(range(100), SENTINELS, generator=generator(3)) == once
    assert span_corruption(range(100), SENTINELS, generator=generator(4)) != once


def test_user_mistakes_name_the_mend():
    with pytest.raises(UserError, match="leave empty texts out"):
        span_corruption([], SENTINELS, generator=generator())
    with pytest.raises(UserError, match="only 2 sentinels"):
        span_corruption(range(200), SENTINELS[:2], generator=generator())


@pytest.mark.parametrize("law", ["uniform", "geometric"])
@pytest.mark.parametrize("words", [False, True])
def test_a_batch_is_what_its_rows_are_one_by_one(law, words):
    rows = [list(range(10, 10 + length)) for length in (90, 3, 1, 40)]
    starts = [[i % 3 == 0 for i in range(len(row))] for row in rows] if words else None
    batch = span_corruption_batch(
        rows, SENTINELS, law=law, generator=generator(4), eos=EOS, pad=0, word_starts=starts
    )
    source = generator(4)
    for place, row in enumerate(rows):
        own = starts[place] if words else None
        inputs, labels = span_corruption(
            row, SENTINELS, law=law, generator=source, eos=EOS, word_starts=own
        )
        real = batch["attention_mask"][place].bool()
        assert batch["input_ids"][place][real].tolist() == inputs
        assert (batch["input_ids"][place][~real] == 0).all()
        asked = batch["labels"][place] != -100
        assert batch["labels"][place][asked].tolist() == labels
    assert batch["counts"]["examples"] == 4
    assert batch["counts"]["targets"] == (batch["labels"] != -100).sum()
    assert batch["counts"]["tokens"] == batch["counts"]["targets"] + batch["attention_mask"].sum()


def test_a_mean_length_of_one_hides_single_tokens():
    for law in ("uniform", "geometric"):
        _, labels = span_corruption(
            range(10, 70), SENTINELS, mean_length=1, law=law, generator=generator()
        )
        assert {len(span) for span in hidden_spans(labels).values()} == {1}
