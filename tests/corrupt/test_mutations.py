"""Bugs made on purpose: each kind, that they can be undone, and that code still parses."""

from __future__ import annotations

import random

import pytest

from pretrial.code_views import view
from pretrial.corrupt.mutations import KINDS, edits, mutate

CODE = '''
def total(items: list[int], limit=10):
    """Not < this, nor 5."""
    if not items:
        return 0
    best = 0  # 1 + 1
    for place in range(len(items)):
        if items[place] < limit and items[place] > best:
            best = items[place - 1]
    print("%d of" % best, *items)
    return best + 1
'''


def undone(mutation):
    """The mutated lines with the right ones put back."""
    lines = mutation.code.splitlines()
    for change in reversed(mutation.changes):
        place = change.start - 1
        assert tuple(lines[place : place + len(change.wrong)]) == change.wrong
        lines[place : place + len(change.wrong)] = change.right
    return lines


def results(kind):
    """Every text that one edit of this kind makes."""
    drawn = [edit for seed in range(30) for edit in edits(view(CODE), random.Random(seed))]
    made = [edit for edit in drawn if edit.kind == kind]
    return {CODE[: edit.start] + edit.new + CODE[edit.end :] for edit in made}


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("operator", "[place] < limit", "[place] <= limit"),
        ("operator", "limit and items", "limit or items"),
        ("operator", "if not items", "if items"),
        ("operator", "best + 1", "best - 1"),
        ("constant", "return 0", "return 1"),
        ("constant", "place - 1", "place - 2"),
        ("identifier", "return best", "return place"),
        ("identifier", "range(len(items))", "range(len(best))"),
        ("off_by_one", "range(len(items))", "range(len(items) - 1)"),
        ("off_by_one", "items[place] <", "items[place + 1] <"),
        ("off_by_one", "items[place - 1]", "items[place]"),
        ("guard", "    if not items:\n        return 0\n", ""),
    ],
)
def test_each_kind_makes_its_bugs(kind, before, after):
    assert CODE.count(before) == 1
    assert CODE.replace(before, after) in results(kind)


def test_strings_comments_signatures_and_unary_marks_stay():
    for kind in KINDS:
        for text in results(kind):
            assert '"""Not < this, nor 5."""' in text
            assert "# 1 + 1" in text
            assert "def total(items: list[int], limit=" in text
            assert '"%d of" %' in text
            assert ", *" in text


@pytest.mark.parametrize("num_changes", [1, 2, 3])
def test_changes_can_be_undone_lie_apart_and_parse(num_changes):
    original = view(CODE)
    rng = random.Random(0)
    for _ in range(40):
        mutation = mutate(original, rng, num_changes=num_changes)
        assert len(mutation.changes) == num_changes
        assert mutation.code != CODE
        assert view(mutation.code).parsed
        assert undone(mutation) == CODE.splitlines()
        for one, other in zip(mutation.changes, mutation.changes[1:], strict=False):
            assert other.start > one.start + len(one.wrong)


def test_every_kind_is_drawn_and_only_those_asked_for():
    original = view(CODE)
    rng = random.Random(1)
    drawn = {mutate(original, rng).changes[0].kind for _ in range(80)}
    assert drawn == set(KINDS)
    for kind in KINDS:
        assert mutate(original, rng, kinds=[kind]).changes[0].kind == kind


def test_same_seed_same_bugs():
    made = [mutate(view(CODE), random.Random(7), num_changes=2) for _ in range(2)]
    assert made[0] == made[1]


@pytest.mark.parametrize("text", ["", "pass\n", "def f():\n    pass\n"])
def test_code_without_a_place_for_a_bug_gives_none(text):
    assert mutate(view(text), random.Random(0)) is None


def test_a_long_text_takes_no_longer_in_proportion():
    names = " + ".join(f"name_{number}" for number in range(3000))
    assert sum(1 for _ in edits(view(f"total = {names}\n"), random.Random(0))) < 4 * 3000


def test_two_bugs_need_two_places():
    assert mutate(view("def f(a):\n    return a + 1\n"), random.Random(0), num_changes=2) is None


def test_code_that_does_not_parse_is_mutated_all_the_same():
    original = view("def f(a:\n    return a + 1\n")
    assert not original.parsed
    assert mutate(original, random.Random(0), kinds=["operator"]).code.endswith("a - 1\n")
