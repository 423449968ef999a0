"""MultiMend: patches for lines known to be wrong, written with related lines at hand.

A sequence-to-sequence model (CodeT5-small) reads the wrong lines and the function around them and
writes the right ones. When it repairs, the lines elsewhere in the file that are nearest to the
wrong ones in meaning are put between both, so that a name which the function lacks can be found.
Several checkpoints of one training search with wide beams, and their candidates become one ranking.
A patch is plausible when all tests pass with it; nothing here calls one correct. Where the lines of
a bug lie apart, each place has candidates of its own: first the same text is tried everywhere, then
the places are mended one after the other, and whatever lowers the number of failing tests is kept.
So the runs of the tests grow with the sum of the candidates and not with their product.

Deviations from the paper and its release:
1. Targets keep their line breaks and inner indentation; the release joins lines by spaces.
2. A patch is indented as the lines it replaces or as their neighbours; the release takes the
   indentation of the developer's fix.
3. Checkpoints are the ends of equal parts of the budget, at least one step after them.
4. Where rows hold sound code only, bugs are made in it by `corrupt.mutations`.
5. A run of the tests that breaks off counts as infinitely many failing tests, and tests that no
   longer run count as failing.
6. Lines are compared by an exact matrix product instead of an approximate index.

Lines are wrong because the user says so: the localisation is given, as in the paper.

| field | content |
| --- | --- |
| removed, added, context | to learn from: wrong lines, right lines, the function around |
| code | or instead: sound functions, in which bugs are made |
| language | of these; python where it is missing |
| tree, hunks, command | to repair: folder or file, wrong lines as "src/a.py:7-9", test command |
| fixed | to compare with: file to the text that a person gave it |
"""

from __future__ import annotations

from pretrial.card import Card, Claim, Field
from pretrial.methods.code.multimend.config import Config
from pretrial.methods.code.multimend.model import MultiMend

__all__ = ["CARD", "Config", "MultiMend"]

CARD = Card(
    slug="multimend",
    title="MultiMend: Multilingual Program Repair with Context Augmentation and Multi-Hunk Patch"
    " Generation",
    authors="Gharibi and others",
    year=2025,
    arxiv="2501.16044",
    summary="Patches for known wrong lines, with related lines retrieved, hunk by hunk",
    baseline="the same model without retrieved lines",
    abilities=("repair", "generate"),
    fields=(
        Field("removed", "the wrong lines, to learn from"),
        Field("added", "the right lines"),
        Field("context", "the function with the wrong lines"),
        Field("language", "of the code; python where it is missing", required=False),
        Field("code", "instead of these: a sound function, in which bugs are made", required=False),
        Field("tree", "to repair: folder or file", required=False),
        Field("hunks", "its wrong lines, such as src/a.py:7-9", required=False),
        Field("command", "its test command", required=False),
        Field("fixed", "file to the text a person gave it, to compare with", required=False),
    ),
    claims=(
        Claim(
            "Across four benchmarks 2,077 bugs are fixed, 1,455 of them as the developer did, 106"
            " with several hunks",
            "abstract",
        ),
    ),
    extra="code",
)
