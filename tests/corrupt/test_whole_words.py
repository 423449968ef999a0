"""Whole words: all tokens of a word or none, near the share that was asked for."""

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from pretrial.corrupt.masks import mask_windows
from pretrial.corrupt.whole_words import choose_words, word_begins
from pretrial.models.tokenizers import learn_bpe

TEXT = "the quick brown foxes jumped over several uninteresting dogs, twice (or thrice)" * 3


@pytest.fixture(scope="module")
def bpe():
    return learn_bpe([TEXT], 300, template="<cls> $A <sep>")


@pytest.fixture(scope="module")
def wordpiece():
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "##s", "dog"]
    tokenizer = Tokenizer(
        WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def words_of(tokenizer, ids):
    """Numbers of the words, read off the text of each token."""
    begins = [not tokenizer.decode([i])[:1].isalnum() for i in ids]
    return torch.tensor(begins).cumsum(0)


def test_words_begin_at_spaces_and_marks_or_without_two_crosses(bpe, wordpiece):
    begins = word_begins(wordpiece)
    assert begins.tolist() == [True] * 6 + [False, False, True]
    ids = bpe(TEXT, add_special_tokens=False)["input_ids"]
    found = word_begins(bpe)[torch.tensor(ids)].cumsum(0)
    assert torch.equal(found, words_of(bpe, ids))


def test_all_tokens_of_a_word_are_chosen_or_none(bpe):
    ids = torch.tensor(bpe(TEXT, add_special_tokens=False)["input_ids"])
    words = words_of(bpe, ids.tolist())
    maskable = torch.ones_like(ids, dtype=torch.bool)
    sums = torch.zeros(len(ids))
    for seed in range(50):
        generator = torch.Generator().manual_seed(seed)
        chosen = choose_words(ids, maskable, bpe, 0.15, generator)
        assert 0 < chosen.sum() <= round(0.15 * len(ids))
        for number in words.unique():
            assert len(chosen[words == number].unique()) == 1
        sums += chosen
    assert sums.sum() / 50 > 0.14 * len(ids)
    assert (sums > 0).float().mean() > 0.9  # no word is out of reach


def test_special_tokens_part_words_and_are_never_chosen(wordpiece):
    ids = torch.tensor([2, 6, 5, 6, 3])  # a window may begin inside a word
    maskable = torch.tensor([False, True, True, True, False])
    seen = set()
    for seed in range(20):
        chosen = choose_words(ids, maskable, wordpiece, 0.34, torch.Generator().manual_seed(seed))
        seen.add(tuple(chosen.tolist()))
    assert seen == {(False, True, False, False, False)}  # of the two words only this one fits
    everything = choose_words(ids, maskable, wordpiece, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(everything, maskable)


def test_where_no_word_fits_the_shortest_is_taken(wordpiece):
    ids = torch.tensor([5, 6, 7, 8, 7])
    generator = torch.Generator().manual_seed(0)
    chosen = choose_words(ids, torch.ones(5, dtype=torch.bool), wordpiece, 0.15, generator)
    assert chosen.tolist() == [False, False, False, True, True]


def test_windows_are_masked_by_words(bpe):
    ids = bpe([TEXT, TEXT[:40]], add_special_tokens=False)["input_ids"]
    batch = mask_windows(
        ids, bpe, torch.Generator().manual_seed(0), ratio=0.3, mask_prob=1.0, whole_words=True
    )
    for row, window in enumerate(ids):
        masked = (batch["input_ids"][row] == bpe.mask_token_id)[1 : len(window) + 1]
        words = words_of(bpe, window)
        assert masked.any()
        assert all(len(masked[words == number].unique()) == 1 for number in words.unique())
