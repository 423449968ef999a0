"""Masking: exact numbers, right rates, nothing special touched; sampling: the right law."""

import pytest
import torch
from scipy.stats import chisquare

from pretrial.corrupt.masks import (
    IGNORE,
    chosen_of,
    gumbel_noise,
    mask_tokens,
    mask_windows,
    sample_tokens,
)
from pretrial.models.tokenizers import learn_bpe

MASK = 4
ORDINARY = torch.arange(10, 50)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def sentences():
    """Token ids [64, 40] whose first and last five positions may not be masked."""
    ids = torch.randint(10, 50, (64, 40), generator=generator())
    maskable = torch.ones_like(ids, dtype=torch.bool)
    maskable[:, 0] = maskable[:, -5:] = False
    return ids, maskable


@pytest.mark.parametrize("exact", [True, False])
def test_labels_undo_the_corruption_and_nothing_else_changes(sentences, exact):
    ids, maskable = sentences
    inputs, labels, chosen = mask_tokens(
        ids,
        maskable,
        mask_id=MASK,
        ratio=0.3,
        generator=generator(),
        mask_prob=0.8,
        random_prob=0.1,
        random_ids=ORDINARY,
        exact=exact,
    )
    assert torch.equal(torch.where(chosen, labels, inputs), ids)
    assert not (chosen & ~maskable).any()
    assert (labels[~chosen] == IGNORE).all()


def test_exact_choice_takes_the_rounded_share_of_each_row(sentences):
    ids, maskable = sentences
    maskable[0, 3:] = False  # two maskable positions: at least one is chosen
    maskable[1] = False
    chosen = mask_tokens(ids, maskable, mask_id=MASK, ratio=0.15, generator=generator()).chosen
    assert chosen.sum(-1).tolist() == [1, 0] + [5] * 62  # round(0.15 * 34)


def test_independent_choice_varies_around_the_ratio(sentences):
    ids, maskable = sentences
    chosen = mask_tokens(
        ids, maskable, mask_id=MASK, ratio=0.15, generator=generator(), exact=False
    ).chosen
    assert chosen.sum(-1).unique().numel() > 3
    assert (chosen.sum() / maskable.sum()).item() == pytest.approx(0.15, abs=0.02)


def test_rates_of_mask_random_and_kept():
    ids = torch.full((200, 100), 60)
    inputs, _, chosen = mask_tokens(
        ids,
        torch.ones_like(ids, dtype=torch.bool),
        mask_id=MASK,
        ratio=0.5,
        generator=generator(),
        mask_prob=0.8,
        random_prob=0.1,
        random_ids=ORDINARY,
    )
    seen = inputs[chosen]
    assert (seen == MASK).float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert (seen == 60).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert set(seen.unique().tolist()) == {MASK, 60, *ORDINARY.tolist()}


def test_same_generator_same_masks_whatever_the_global_seed(sentences):
    ids, maskable = sentences
    first = mask_tokens(ids, maskable, mask_id=MASK, ratio=0.15, generator=generator(1))
    torch.manual_seed(5)
    again = mask_tokens(ids, maskable, mask_id=MASK, ratio=0.15, generator=generator(1))
    other = mask_tokens(ids, maskable, mask_id=MASK, ratio=0.15, generator=generator(2))
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_samples_follow_the_softmax(temperature):
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 0.5, 0.5])
    num_draws = 20_000
    noise = gumbel_noise(num_draws, 6, seed=0)
    drawn = sample_tokens(logits.expand(num_draws, -1), noise, temperature)
    expected = (logits / temperature).double().softmax(-1) * num_draws
    assert chisquare(drawn.bincount(minlength=6).double(), expected).pvalue > 0.01
    wrong = (logits * 1.1 / temperature).double().softmax(-1) * num_draws
    assert chisquare(drawn.bincount(minlength=6).double(), wrong).pvalue < 0.01


def test_a_forbidden_token_is_never_drawn_and_the_rest_keep_their_odds():
    logits = torch.tensor([3.0, 1.0, 0.0])
    noise = gumbel_noise(20_000, 3, seed=0)
    drawn = sample_tokens(
        logits.expand(20_000, -1), noise, forbidden=torch.zeros(20_000, dtype=torch.long)
    )
    counts = drawn.bincount(minlength=3)
    assert counts[0] == 0
    expected = torch.tensor([1.0, 0.0]).double().softmax(-1) * 20_000
    assert chisquare(counts[1:].double(), expected).pvalue > 0.01


def test_sampling_carries_no_gradient():
    logits = torch.randn(4, 6, requires_grad=True)
    assert not sample_tokens(logits, gumbel_noise(4, 6, seed=0)).requires_grad


@pytest.fixture(scope="module")
def tokenizer():
    return learn_bpe(["return the list of names"] * 3, 300)


def windows(lengths):
    return [torch.randint(10, 280, (n,), generator=generator(n)).tolist() for n in lengths]


def masked(tokenizer, rows, seed=0, **changes):
    how = {"ratio": 0.15, "mask_prob": 0.8, "random_prob": 0.1} | changes
    return mask_windows(rows, tokenizer, generator(seed), **how)


def test_windows_are_closed_padded_and_masked_in_exact_number(tokenizer):
    rows = windows([40, 7, 1])
    batch = masked(tokenizer, rows)
    for place, row in enumerate(rows):
        real = batch["labels"][place][batch["attention_mask"][place]].tolist()
        assert real == [tokenizer.cls_token_id, *row, tokenizer.sep_token_id]
    assert batch["num_chosen"].tolist() == [6, 1, 1]
    chosen = batch["loss_mask"]
    assert chosen.flatten().nonzero().squeeze(1).tolist() == batch["positions"].tolist()
    assert torch.equal(chosen_of(batch["labels"], batch), batch["labels"][chosen])
    assert not (batch["input_ids"] != batch["labels"])[~chosen].any()
    special = torch.isin(batch["labels"], torch.tensor(tokenizer.all_special_ids))
    assert not (chosen & special).any()
    assert batch["counts"] == {"examples": 3.0, "tokens": 54.0, "masked": 8.0}


def test_windows_have_the_right_rates_of_mask_and_random_tokens(tokenizer):
    batch = masked(tokenizer, windows([200] * 60), ratio=0.5)
    seen = batch["input_ids"].flatten()[batch["positions"]]
    was = batch["labels"].flatten()[batch["positions"]]
    assert (seen == tokenizer.mask_token_id).float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert (seen == was).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert not torch.isin(seen, torch.tensor(tokenizer.all_special_ids)[:5]).any()
    free = masked(tokenizer, windows([200] * 60), exact=False)
    assert len(set(free["num_chosen"].tolist())) > 5
    assert free["counts"]["masked"] / (200 * 60) == pytest.approx(0.15, abs=0.01)


def test_what_a_window_hides_does_not_depend_on_the_split(tokenizer):
    rows = windows([30, 12, 50, 9])
    whole, source = masked(tokenizer, rows), generator(0)
    how = {"ratio": 0.15, "mask_prob": 0.8, "random_prob": 0.1}
    parts = [mask_windows(rows[at : at + 2], tokenizer, source, **how) for at in (0, 2)]
    for place, row in enumerate(rows):
        part = parts[place // 2]["input_ids"][place % 2]
        assert torch.equal(whole["input_ids"][place][: len(row) + 2], part[: len(row) + 2])
        assert whole["seeds"][place] == parts[place // 2]["seeds"][place % 2]


def test_a_window_of_special_tokens_hides_nothing(tokenizer):
    batch = masked(tokenizer, [[tokenizer.eos_token_id] * 3])
    assert len(batch["positions"]) == 0
    assert torch.equal(batch["input_ids"], batch["labels"])
