"""Beam search against a search over everything, and against one step of itself at a time."""

import itertools
import math

import pytest
import torch

from pretrial.models.decoding.beam import beam_search

EOS = 0


class Table:
    """A language model whose next token depends on the last one and the number read so far."""

    def __init__(self, prompts, vocab_size=4, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(8, vocab_size, vocab_size, generator=generator).mul(2)
        self.rows = [list(prompt) for prompt in prompts]
        self.start = [len(prompt) for prompt in prompts]
        self.logits = self._logits()

    def _logits(self):
        read = [len(row) - start for row, start in zip(self.rows, self.start, strict=True)]
        steps = zip(read, self.rows, strict=True)
        return torch.stack([self.table[number, row[-1]] for number, row in steps])

    def feed(self, tokens):
        self.rows = [[*row, *new] for row, new in zip(self.rows, tokens.tolist(), strict=True)]
        self.logits = self._logits()
        return self.logits

    def select(self, index):
        self.rows = [self.rows[place] for place in index.tolist()]
        self.start = [self.start[place] for place in index.tolist()]
        self.logits = self.logits[index]
        return self.logits


def score(prompt, ids, seed=0):
    """Log-probability of a continuation."""
    reader, total = Table([prompt], seed=seed), 0.0
    for token in ids:
        total += float(reader.logits.log_softmax(-1)[0, token])
        reader.feed(torch.tensor([[token]]))
    return total


@pytest.mark.parametrize("seed", range(5))
def test_two_tokens_by_as_many_beams_as_tokens_are_the_best_of_all(seed):
    def rank(continuations):
        return sorted(continuations, key=lambda ids: -score([1], ids, seed))

    pairs = rank([list(ids) for ids in itertools.product(range(1, 4), range(4))])[:4]
    ended = rank([[EOS], *(ids for ids in pairs if ids[1] == EOS)])
    expected = [*ended, *(ids for ids in pairs if ids[1] != EOS)][:4]
    assert beam_search(Table([[1]], seed=seed), 4, 2, {EOS}) == [expected]


def test_one_beam_is_greedy():
    reader, expected = Table([[1]], seed=3), []
    while len(expected) < 6 and expected[-1:] != [EOS]:
        expected.append(int(reader.logits.argmax()))
        reader.feed(torch.tensor([expected[-1:]]))
    assert beam_search(Table([[1]], seed=3), 1, 6, {EOS}) == [[expected]]


@pytest.mark.parametrize("num_beams", [2, 3])
def test_prompts_together_find_what_each_finds_alone(num_beams):
    prompts = [[1], [2, 3], [3], [1, 2]]
    together = beam_search(Table(prompts), num_beams, 7, {EOS})
    alone = [beam_search(Table([prompt]), num_beams, 7, {EOS})[0] for prompt in prompts]
    assert together == alone
    for ways in together:
        assert len(ways) == num_beams
        assert all(EOS not in way[:-1] for way in ways)


def test_the_best_ended_come_first_by_their_score():
    ways = beam_search(Table([[2]], seed=1), 3, 7, {EOS})[0]
    ended = [score([2], way, 1) for way in ways if way[-1] == EOS]
    assert ended == sorted(ended, reverse=True)
    assert all(math.isfinite(each) for each in ended)


def test_several_tokens_may_end_one():
    for way in beam_search(Table([[1]]), 3, 7, {EOS, 2})[0]:
        assert not {EOS, 2} & set(way[:-1])


def test_more_beams_than_tokens_are_as_many_as_there_are_tokens():
    assert len(beam_search(Table([[1]]), 9, 3, {EOS})[0]) == 4
