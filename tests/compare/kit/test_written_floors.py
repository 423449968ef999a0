"""Who copies, and who counts: probabilities by hand, and that they sum to one."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pretrial.compare.kit.written_floors import AnswerCounts, CopiedLines, PairCounts


class Letters:
    """One token a letter, an end token behind each text where special tokens are asked for."""

    eos_token_id = 0

    def __call__(self, texts: list[str], add_special_tokens: bool = True) -> dict[str, Any]:
        end = [0] if add_special_tokens else []
        return {"input_ids": [[ord(letter) - 96 for letter in text] + end for text in texts]}

    def __len__(self) -> int:
        return 5


def test_counts_of_pairs_by_hand_and_they_sum_to_one() -> None:
    counts = PairCounts([[1, 2], [1, 3]], 5)
    alone = {1: (2 + 3 / 5) / 7, 2: (1 + 3 / 5) / 7}
    assert counts.probability(-1, 1) == pytest.approx((2 + 1 * alone[1]) / (2 + 1))
    assert counts.probability(1, 2) == pytest.approx((1 + 2 * alone[2]) / (2 + 2))
    assert counts.probability(4, 2) == pytest.approx(alone[2])  # never seen before another
    for before in (-1, 1, 2, 4):
        assert sum(counts.probability(before, token) for token in range(5)) == pytest.approx(1)
    both = counts.probability(-1, 1) * counts.probability(1, 2)
    assert counts.nll([1, 2]) == pytest.approx(-math.log(both))


def test_what_is_copied_costs_little_and_copying_goes_on_behind_a_fault() -> None:
    floor = CopiedLines([("abcdabcd", "abddabcd"), ("abab", "abab")], Letters())
    right, other, twice = floor.nll(
        [("abcdabcd", "abcdabcd"), ("abcdabcd", "abcaabcd"), ("abcdabcd", "aacaabcd")]
    )
    assert right < other < twice
    left_out, put_in, unlike = floor.nll(
        [("abcdabcd", "abdabcd"), ("abcdabcd", "abccdabcd"), ("abcdabcd", "ddccbbaa")]
    )
    assert max(left_out, put_in) < unlike


def test_the_first_tokens_of_who_copies_by_hand() -> None:
    floor = CopiedLines([("ab", "ab")], Letters())
    share, counts = floor.share, floor._counts
    first = (1 - share) * counts.probability(-1, 3)
    # read are a, b and the end; one stands at the second place, or anywhere
    places = [0.1 / 3, 0.1 / 3 + 0.9, 0.1 / 3]
    second = places[1] * share + (1 - share) * counts.probability(3, 2)
    assert floor._nll([1, 2, 0], [3, 2], share) == pytest.approx(-math.log(first * second))


def test_probabilities_of_who_copies_sum_to_one() -> None:
    floor = CopiedLines([("ab", "ac"), ("dd", "dd")], Letters())
    both = [
        math.exp(-floor._nll([1, 2, 0], [one, other], floor.share))
        for one in range(5)
        for other in range(5)
    ]
    assert sum(both) == pytest.approx(1)


def test_answers_are_ranked_by_how_often_they_were_right_in_the_task() -> None:
    answers = [("one", "a"), ("one", "a"), ("one", "a"), ("one", "b"), ("two", "d")]
    floor = AnswerCounts(answers, lambda prompt: prompt, Letters())
    one, two, other = floor.choice_scores(["one", "two", "three"], [["a", "b", "d"]] * 3)
    assert one[0] > one[1] > one[2]
    assert max(two) == two[2]
    assert other[0] > other[2] > -5  # the answers of all tasks
    assert one[0] == pytest.approx(-PairCounts([[1, 0]] * 3 + [[2, 0]], 5).nll([1, 0]))
