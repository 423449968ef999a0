"""MultiMend: hunks, sources, retrieved lines, ranking and search, each against its definition."""

from __future__ import annotations

import itertools
import math
import random
import subprocess

import pytest

from pretrial.code_views import view
from pretrial.errors import UserError
from pretrial.methods.code.multimend.abilities import retrieval
from pretrial.methods.code.multimend.abilities.ranking import Candidate, rank, rank_everywhere
from pretrial.methods.code.multimend.abilities.repair import query_of
from pretrial.methods.code.multimend.abilities.retrieval import Retriever, candidates
from pretrial.methods.code.multimend.abilities.search import Search
from pretrial.methods.code.multimend.data.fixes import (
    Fix,
    joined,
    made_fixes,
    source_text,
    target_text,
)
from pretrial.methods.code.multimend.data.hunks import (
    Hunk,
    apply,
    enclosing_lines,
    fitted,
    unified_diff,
)

FILE = """import os

LIMIT_OF_ITEMS = 10


def clip_to_limit(items):
    return items[:LIMIT_OF_ITEMS]


def total(items):
    \"\"\"Sum of the items.\"\"\"
    # the best so far
    best = 0
    for item in clip_to_limits(items):
        best += item
    return best


print(total(clip_to_limit([1, 2])))
"""


# -- hunks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a.py:7", "src/a.py:7-9", "a.py:+7"])
def test_hunks_are_read_and_written(text):
    assert str(Hunk.parse(text)) == text


@pytest.mark.parametrize("text", ["a.py", "a.py:0", "a.py:9-7", "a.py:+7-9", ":7", "a.py:x"])
def test_what_names_no_lines_is_refused(text):
    with pytest.raises(UserError, match=r"a\.py:7-9"):
        Hunk.parse(text)


def inverse(text, edits):
    """The edits that turn `apply(text, edits)` into `text`, if anything is left of it."""
    back, shift = {}, 0
    for hunk in sorted(edits, key=lambda hunk: hunk.start):
        num_new = len(edits[hunk])
        back[Hunk(hunk.path, hunk.start + shift, num_new)] = hunk.lines(text)
        shift += num_new - hunk.num_lines
    return back


@pytest.mark.parametrize("end", ["\n", "", "\r\n"])
def test_applying_and_reversing_hunks_restores_the_file(end):
    rng = random.Random(0)
    for _ in range(200):
        count = rng.randrange(1, 12)
        text = (end or "\n").join(f"line {n}" for n in range(count)) + end
        edits, line = {}, 1
        while line <= count:
            size = rng.randrange(0, min(3, count - line + 1) + 1)
            if rng.random() < 0.5:
                edits[Hunk("f", line, size)] = [f"new {rng.random()}"] * rng.randrange(0, 3)
            line += size + 1
        changed = apply(text, edits)
        if not changed:  # of an empty file nobody can tell whether its last line had an end
            continue
        assert apply(changed, inverse(text, edits)) == text


def test_hunks_that_overlap_are_refused():
    with pytest.raises(UserError, match="overlaps"):
        apply("a\nb\nc\n", {Hunk("f", 1, 2): ["x"], Hunk("f", 2, 1): ["y"]})


@pytest.mark.parametrize(
    ("text", "hunk", "patch", "lines"),
    [
        ("if x:\n    a\n", Hunk("f", 2, 1), "b", ["    b"]),
        ("if x:\n\ta\n", Hunk("f", 2, 1), "if c:\n    b", ["\tif c:", "\t    b"]),
        ("def f():\n    a\nb\n", Hunk("f", 3, 0), "c", ["    c"]),  # the deeper neighbour
        ("def f():\n    a\n", Hunk("f", 2, 0), "c", ["    c"]),
        ("if x:\r\n    a\r\n", Hunk("f", 2, 1), "b", ["    b\r"]),
        ("a\n", Hunk("f", 1, 1), "  ", []),
    ],
)
def test_a_patch_is_indented_as_what_it_replaces_or_its_neighbours(text, hunk, patch, lines):
    assert fitted(text, hunk, patch) == lines


def test_the_context_is_the_enclosing_function_or_a_window():
    code = view(FILE)
    assert enclosing_lines(code, Hunk("f", 14, 1)) == (10, 17)
    assert enclosing_lines(code, Hunk("f", 3, 1)) == (1, 7)
    assert enclosing_lines(code, Hunk("f", 19, 1)) == (16, 20)


def test_diffs_are_those_that_git_applies(tmp_path):
    old = "a\nb\nc"
    new = apply(old, {Hunk("f.py", 2, 1): ["B"], Hunk("f.py", 3, 1): ["C"]})
    (tmp_path / "f.py").write_text(old)
    diff = unified_diff("f.py", old, new)
    subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=tmp_path, check=True)
    assert (tmp_path / "f.py").read_text() == new


# -- sources and targets --------------------------------------------------------------------------


def test_a_source_is_language_wrong_lines_colon_retrieved_lines_and_context():
    text = source_text("    a = 1\n    b = 2\n", "def f():\n    a = 1", "Java", ["x = 1", "y = 2"])
    assert text == "Java a = 1 b = 2 : x = 1 y = 2 def f(): a = 1"
    assert source_text("", "def f(): pass") == "Python  : def f(): pass"


def test_a_target_keeps_its_lines_and_what_is_inside_them():
    assert target_text("        if a:\n            b\n") == "if a:\n    b"


def test_the_context_of_a_query_has_no_comments_and_names_its_language():
    query = query_of(FILE, Hunk("f.py", 14, 1), "python", Retriever("none", 5, 0.5))
    assert query.removed == "for item in clip_to_limits(items):"
    assert query.retrieved == ()
    assert query.source == (
        "Python for item in clip_to_limits(items): : def total(items): best = 0"
        " for item in clip_to_limits(items): best += item return best"
    )


def test_bugs_are_made_in_sound_code_always_the_same():
    code = "def f(a, b):\n    # why\n    if a < b:\n        return a\n    return b + 1\n"
    fixes = list(made_fixes(code))
    assert fixes == list(made_fixes(code))
    assert 1 <= len(fixes) <= 3
    for fix in fixes:
        assert "why" not in fix.context
        assert joined(fix.removed) in joined(fix.context)
        assert fix.removed != fix.added
        assert fix.language == "Python"


# -- retrieval ------------------------------------------------------------------------------------


def test_candidates_are_lines_outside_the_context_each_once_and_not_the_query():
    lines = candidates("a  =  1\n)\n\nb = 2\n", "a = 1\nquery  here\n}, {\n", "query here")
    assert lines == ["a = 1", "b = 2"]


@pytest.mark.parametrize("kind", ["random", "embedding"])
def test_retrieved_lines_are_never_of_the_context_and_never_the_query(kind):
    query = query_of(FILE, Hunk("f.py", 14, 1), "python", Retriever(kind, 5, 2.0))
    outside = {"import os", "LIMIT_OF_ITEMS = 10", "return items[:LIMIT_OF_ITEMS]"}
    outside |= {"def clip_to_limit(items):", "print(total(clip_to_limit([1, 2])))"}
    assert set(query.retrieved) == outside


def test_the_nearest_lines_within_the_distance_come_first():
    near = Retriever("embedding", 2, 0.5)
    found = query_of(FILE, Hunk("f.py", 14, 1), "python", near).retrieved
    assert found[0] == "def clip_to_limit(items):"
    assert "import os" not in found
    assert query_of(FILE, Hunk("f.py", 14, 1), "python", Retriever("embedding", 5, 0.0)) == (
        query_of(FILE, Hunk("f.py", 14, 1), "python", Retriever("none", 5, 0.5))
    )


def test_nothing_is_retrieved_where_nothing_is_removed(monkeypatch):
    monkeypatch.setattr(retrieval, "load_sentence_encoder", None)  # not even asked for
    assert query_of(FILE, Hunk("f.py", 13, 0), "python", Retriever("embedding", 5, 2.0)).source
    assert Retriever("embedding", 5, 2.0).find("});", ["a = 1"]) == []


# -- ranking --------------------------------------------------------------------------------------


def test_three_checkpoints_make_the_table_worked_out_by_hand():
    beams = [
        [("x  =  1", -0.1), ("x = 2", -0.3), ("old", -0.5)],
        [("x = 2", -0.2), ("x = 3", -0.25), ("", -0.9)],
        [("x = 4", -0.15), ("x = 1", -0.2), ("x = 3", -0.6)],
    ]
    assert rank(beams, " old ") == [
        Candidate("", 0, 0.0),  # a beam has it: first, with score 0
        Candidate("x  =  1", 0, -0.1),
        Candidate("x = 4", 0, -0.15),
        Candidate("x = 2", 0, -0.2),
        Candidate("x = 3", 1, -0.25),
    ]


@pytest.mark.parametrize("seed", range(10))
def test_each_text_has_its_best_place_and_the_best_score_of_that_place(seed):
    rng = random.Random(seed)
    beams = [
        [(rng.choice(["a", " a", "b  c", "b c", "d", "old", "e", "f"]), rng.uniform(-2, 0))
         for _ in range(6)]
        for _ in range(3)
    ]  # fmt: skip
    best = {}
    for beam in beams:
        for place, (text, score) in enumerate(beam):
            key = " ".join(text.split())
            if key != "old":
                best[key] = min(best.get(key, (9, 0.0)), (place, -score))
    expected = ["", *sorted(best, key=best.get)]
    assert [candidate.key for candidate in rank(beams, "old")] == expected


def test_removing_comes_first_unless_there_is_nothing_to_remove():
    assert [c.text for c in rank([[("a", -1.0)]], "b")] == ["", "a"]
    assert [c.text for c in rank([[("a", -1.0)]], "")] == ["a"]


def test_everywhere_ranks_are_summed_and_the_best_score_kept():
    one = [Candidate("a", 0, -0.1), Candidate("b", 1, -0.2), Candidate("c", 2, -0.3)]
    other = [Candidate("b", 0, -0.5), Candidate("c", 1, -0.1), Candidate("a", 2, -0.4)]
    assert rank_everywhere([one, other]) == [
        Candidate("b", 1, -0.2),
        Candidate("a", 2, -0.1),
        Candidate("c", 3, -0.1),
    ]


# -- search ---------------------------------------------------------------------------------------


def options(prefix, count):
    return [Candidate(f"{prefix}{number}", number, -number) for number in range(count)]


def oracle(right, calls=None):
    """Counts the hunks that are not right; each call is noted."""

    def failing(assignment):
        if calls is not None:
            calls.append(assignment)
        texts = [one.text if one else None for one in assignment]
        return float(sum(text != wanted for text, wanted in zip(texts, right, strict=True)))

    return failing


def test_a_single_hunk_stops_at_the_first_that_passes():
    found = Search([options("a", 9)], oracle(["a3"]), 1).run()
    assert found.num_validations == 4
    assert [one.text for one in found.plausible] == ["a3"]


def test_two_hunks_with_different_patches_take_the_sum_and_not_the_product():
    hunks = [options("a", 10), options("b", 8)]
    progressive = Search(hunks, oracle(["a9", "b7"]), 2).run("progressive")
    assert [one.text for one in progressive.plausible] == ["a9", "b7"]
    assert progressive.num_validations == 10 + 8
    cross = Search(hunks, oracle(["a9", "b7"]), 2).run("cross")
    assert cross.plausible == progressive.plausible
    assert cross.num_validations == 10 * 8
    assert Search(hunks, oracle(["a9", "b7"]), 2).run("same").plausible is None


def test_the_same_text_everywhere_is_tried_first():
    hunks = [options("a", 5), [*options("b", 2), Candidate("a3", 2, -1.0)]]
    found = Search(hunks, oracle(["a3", "a3"]), 2).run("progressive")
    assert found.num_validations == 1


@pytest.mark.parametrize("seed", range(20))
def test_validations_stay_below_the_sum_and_the_failing_count_never_rises(seed):
    rng = random.Random(seed)
    sizes = [rng.randrange(1, 7) for _ in range(3)]
    hunks = [options(prefix, size) for prefix, size in zip("abc", sizes, strict=True)]
    table = {}

    def failing(assignment):
        return table.setdefault(assignment, float(rng.randrange(0, 9)))

    found = Search(hunks, failing, 5.0).run("progressive")
    assert found.num_validations <= sum(sizes)
    counts = [found.before, *(count for _, count in found.accepted)]
    assert all(later < earlier for earlier, later in itertools.pairwise(counts))


def test_a_hunk_that_nothing_helps_is_left_and_later_ones_are_still_mended():
    calls = []
    hunks = [options("a", 3), options("b", 3)]
    found = Search(hunks, oracle(["zz", "b1"], calls), 2).run("progressive")
    assert [one and one.text for one in found.accepted[-1][0]] == [None, "b1"]
    assert found.plausible is None
    assert calls[0][1] is None  # while the first is mended the second is as it was


def test_the_limit_ends_the_search_and_is_told():
    found = Search([options("a", 9)], oracle(["a8"]), 1, max_validations=3).run()
    assert (found.num_validations, found.exhausted, found.plausible) == (3, False, None)


def test_what_is_known_is_not_run_again_and_nothing_runs_where_nothing_fails():
    hunks = [[Candidate("a", 0, 0.0)], [Candidate("a", 0, 0.0)]]
    found = Search(hunks, oracle(["b", "b"]), 2).run("cross")  # after "same" it knows all
    assert found.num_validations == 1
    assert Search(hunks, oracle(["b", "b"]), 0).run().num_validations == 0


def test_any_number_betters_tests_that_did_not_end():
    failing = oracle(["a0", "b0"])
    found = Search([options("a", 2), options("b", 2)], failing, math.inf).run()
    assert [count for _, count in found.accepted] == [1.0, 0.0]


def test_fixes_compare_by_value():
    assert Fix("a", "b", "c") == Fix("a", "b", "c", "Python")


def test_code_of_megabytes_is_no_function_to_learn_from():
    assert list(made_fixes("def f(a):\n    return [" + "a + 1, " * 300_000 + "]\n")) == []
    with pytest.raises(UserError, match="no grammar for 'cobol'"):
        list(made_fixes("x" * 200_000, "cobol"))
