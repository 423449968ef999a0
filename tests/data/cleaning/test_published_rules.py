"""The rules of Gopher, FineWeb and C4: documents on both sides of the bound of each.

The words are made up so that a document breaks nothing but what the test is about.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pretrial.data.cleaning.heuristics import Heuristics
from pretrial.data.cleaning.repetition import Runs, repeated, tokens_of, words_of

PUBLISHED = Heuristics(
    min_words=50, min_stop_words=2, min_sentences=5, allow_braces=False, max_newline_ratio=0.3
)
#: Bounds of our own, which a document may break beside the one it is about.
RULES = replace(PUBLISHED, min_chars=0, max_symbol_ratio=0, min_letter_ratio=0)


def new_words(number: int, seed: int = 0) -> list[str]:
    """So many different words of five letters."""
    rng = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < number:
        found["".join(rng.choices("bcdfgklmnprst", k=5))] = None
    return list(found)


def page(number: int = 96, per_line: int = 12) -> list[str]:
    """Lines of new words, each a sentence; two stop words are in the first."""
    words = ["the", "of", *new_words(number)][:number]
    lines = [words[i : i + per_line] for i in range(0, number, per_line)]
    return [" ".join(line) + "." for line in lines]


def broken(text: str, rules: Heuristics = RULES) -> str:
    return rules.shape({}, text) or rules.repeats(text)


TEXT = "\n".join(page())
WORDS = TEXT.replace(".", "").split()


def test_a_plain_page_breaks_nothing() -> None:
    assert broken(TEXT) == ""
    assert broken(TEXT, PUBLISHED) == ""
    assert broken(TEXT, Heuristics()) == ""


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        # Gopher, A.1.1
        ("few words", "\n".join(page(49, 7)), "\n".join(page(50, 10))),
        ("short words", " ".join(w[:2] for w in WORDS) + ".", " ".join(w[:4] for w in WORDS)),
        ("long words", " ".join(2 * w + "z" for w in WORDS), " ".join(2 * w for w in WORDS)),
        ("hashes", TEXT + " #" * 12, TEXT + " #" * 11),
        ("ellipses", TEXT + " …" * 12, TEXT + " …" * 11),
        ("words without letters", TEXT + " 7" * 20, TEXT + " 7" * 15),
        ("stop words", TEXT.replace("the ", "teh "), TEXT),
        ("bullets", "\n".join(f"- {x}" for x in page()), "\n".join([*page()[1:], "- a."])),
        (
            "ellipses at ends of lines",
            "\n".join(x + "…" if i < 3 else x for i, x in enumerate(page())),
            "\n".join(x + "…" if i < 2 else x for i, x in enumerate(page())),
        ),
        # FineWeb, 3.6
        ("short lines", "\n".join(page(96, 4)), "\n".join(page(96, 6))),
        (
            "unfinished lines",
            "\n".join(x[:-1] for x in page(96, 12)[1:]) + "\n" + " ".join(page(20, 4)).lower()[:-1],
            "\n".join(x[:-1] if i > 4 else x for i, x in enumerate(page(96, 12))),
        ),
        ("line breaks", TEXT + "\n" * 40, TEXT + "\n" * 20),
        # C4, 2.2
        ("few sentences", "\n".join(page(96, 24)), TEXT),
        ("placeholder", TEXT + "\nLorem ipsum dolor sit.", TEXT + "\nLorem dolor sit ipsum."),
        ("braces", TEXT + "\nOne {brace} in a line of words.", TEXT + "\nNo (brace) in a line."),
    ],
)
def test_a_rule_of_quality(rule: str, bad: str, good: str) -> None:
    rules = RULES if rule != "unfinished lines" else replace(RULES, min_sentences=0)
    assert broken(bad, rules) == rule
    assert broken(good, rules) != rule


def test_the_most_words() -> None:
    assert Heuristics().max_words == 100_000
    assert broken(TEXT, replace(RULES, max_words=95)) == "many words"
    assert broken(TEXT, replace(RULES, max_words=96)) == ""


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        ("repeated lines", [*page(), *page()[:4]], [*page(), *page()[:1]]),
        ("repeated lines", [*page(), *page()[:3], "x.", "y.", "z."], TEXT.splitlines()),
    ],
)
def test_lines_that_came_before(rule: str, bad: list[str], good: list[str]) -> None:
    assert broken("\n".join(bad), replace(RULES, max_short_line_ratio=0)) == rule
    assert broken("\n".join(good)) != rule


def test_paragraphs_that_came_before() -> None:
    paragraphs = page(96, 16)
    again = "\n\n".join([*paragraphs, *paragraphs[:3]])
    assert broken(again) == "repeated paragraphs"
    assert broken("\n\n".join(paragraphs)) == ""
    count, chars = repeated(["ab", "c", "ab", "ab"])
    assert (count, chars) == (2, 4)


@pytest.mark.parametrize(
    ("size", "bound"),
    [
        (2, 0.20),
        (3, 0.18),
        (4, 0.16),
        (5, 0.15),
        (6, 0.14),
        (7, 0.13),
        (8, 0.12),
        (9, 0.11),
        (10, 0.10),
    ],
)
def test_runs_of_words(size: int, bound: float) -> None:
    """One run is put between new words until its share of the characters passes the bound."""
    run, frequent = new_words(size, seed=9), size < 5
    chars = 6 * size - 1 if frequent else 5 * size  # with the spaces inside, or without
    rules = replace(
        RULES,
        min_words=0,
        min_stop_words=0,
        min_sentences=0,
        max_frequent_ngrams=tuple(bound if n == size else 0 for n in (2, 3, 4)),
        max_repeated_ngrams=tuple(bound if n == size else 0 for n in range(5, 11)),
    )
    for times in range(2, 12):
        fill = iter(new_words(3000, seed=times))
        words = [word for _ in range(times) for word in (*run, next(fill))]
        counted = chars * (times if frequent else times - 1)
        while True:  # more new words, until the share is at the bound
            share = counted / len(" ".join(words))
            if share <= bound:
                break
            text = " ".join(words)
            words.append(next(fill))
        kind = "frequent" if frequent else "repeated"
        assert rules.repeats(text) == f"{kind} {size}-grams"
        assert rules.repeats(" ".join(words)) == ""


def test_the_bounds_are_those_that_were_published() -> None:
    rules = Heuristics()
    assert rules.max_frequent_ngrams == (0.20, 0.18, 0.16)
    assert rules.max_repeated_ngrams == (0.15, 0.14, 0.13, 0.12, 0.11, 0.10)
    assert (rules.max_repeated_line_ratio, rules.max_repeated_line_chars) == (0.3, 0.2)
    assert (rules.max_repeated_paragraph_ratio, rules.max_repeated_paragraph_chars) == (0.3, 0.2)
    assert (rules.max_bullet_ratio, rules.max_ellipsis_line_ratio) == (0.9, 0.3)
    assert (rules.min_word_length, rules.max_word_length) == (3, 10)
    assert (rules.max_hash_ratio, rules.max_ellipsis_ratio) == (0.1, 0.1)
    assert rules.min_alphabetic_ratio == 0.8
    assert rules.stop_words == ("the", "be", "to", "of", "and", "that", "have", "with")
    assert (rules.max_short_line_ratio, rules.short_line) == (0.67, 30)
    assert rules.max_unfinished_line_ratio == pytest.approx(1 - 0.12)


@pytest.mark.parametrize("mark", [":", ";", ")", '."', "…", ","])
def test_a_line_ends_as_a_sentence_does(mark: str) -> None:
    """FineWeb counts none of these."""
    lines = "\n".join(x[:-1] + mark for x in page())
    rules = replace(RULES, min_sentences=0, max_ellipsis_line_ratio=0)
    assert broken(lines, rules) == "unfinished lines"
    assert broken(lines.replace(mark, "."), rules) == ""


def test_words_and_marks() -> None:
    assert tokens_of("Don't, no. 3") == ["Don't", ",", "no", ".", "3"]
    assert words_of("今天 good แมว") == ["今", "天", "good", "แ", "ม", "ว"]
    runs = Runs(tokens_of("a b a b a b"))
    assert [runs.most_frequent(size) for size in (2, 3, 7)] == [9, 10, 0]
    assert [runs.repeated(size) for size in (2, 3, 4)] == [4, 3, 4]
    assert Runs([]).most_frequent(2) == Runs(["a"]).repeated(5) == 0


def test_texts_without_spaces_are_not_judged_by_the_length_of_words() -> None:
    chinese = "".join(random.Random(0).sample([chr(c) for c in range(0x4E00, 0x6000)], 400))
    lines = [chinese[i : i + 40] + "。" for i in range(0, 400, 40)]
    assert broken("\n".join(lines), Heuristics()) == ""


def test_a_short_text_is_not_full_of_its_only_words() -> None:
    text = "The keeper of the light counted the gulls and wrote the number in a book."
    assert broken(text, Heuristics()) == ""
