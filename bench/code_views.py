"""Speed of code views: tokens and names of the standard library, beside Python's own tokenizer.

    python bench/code_views.py                  # Python, and the grammars on the same text, 1 min
    python bench/code_views.py --tree-sitter 0  # Python alone

One process, one thread; the time is that of the processor. Each file is seen once a round, and the
median of the rounds counts. Wanted are 2 MB of Python source a second for tokens and identifiers;
the command fails below that. The rows after it tell what the other questions cost.
"""

from __future__ import annotations

import io
import statistics
import sys
import time
import tokenize
from collections.abc import Callable
from pathlib import Path

import tyro

from pretrial.code_views import decode, view
from pretrial.code_views.treesitter import TreeSitterView
from pretrial.data.builtin.stdlib import stdlib_code

BAR = 2.0  # MB a second


def sources(limit: int) -> list[str]:
    """Texts of the standard library's modules, together about `limit` characters."""
    root = Path(tokenize.__file__).parent
    paths = dict.fromkeys(row["path"] for row in stdlib_code())
    texts, total = [], 0
    for path in paths:
        if total < limit:
            texts.append(decode((root / path).read_bytes()))
            total += len(texts[-1])
    return texts


def names(text: str) -> None:
    """What the bar is for."""
    source = view(text)
    assert source.tokens
    source.identifiers()


def tokenized(text: str) -> None:
    """Tokens by the standard library."""
    list(tokenize.generate_tokens(io.StringIO(text).readline))


def everything(text: str) -> None:
    """Functions, calls and a text without comments, which need the parser."""
    source = view(text)
    source.functions()
    source.calls()
    source.without_comments(docstrings=True)


def megabytes_a_second(work: Callable[[str], object], texts: list[str], rounds: int) -> float:
    """The median over the rounds."""
    size = sum(len(text.encode()) for text in texts) / 1e6
    speeds = []
    for _ in range(rounds):
        start = time.process_time()
        for text in texts:
            work(text)
        speeds.append(size / (time.process_time() - start))
    return statistics.median(speeds)


def main(rounds: int = 5, megabytes: float = 4.0, tree_sitter: float = 0.5) -> None:
    """Prints a table.

    Args:
        rounds: of which the median counts.
        megabytes: of Python source.
        tree_sitter: megabytes of it that the grammar of Python reads too; 0 for none.
    """
    texts = sources(int(megabytes * 1e6))
    some = sources(int(tree_sitter * 1e6))
    cases: list[tuple[str, Callable[[str], object], list[str]]] = [
        ("tokens and identifiers", names, texts),
        ("tokenize of the standard library", tokenized, texts),
        ("functions, calls, without comments", everything, texts),
        ("tree", lambda text: str(view(text).tree().kind), texts),
        ("places for edits", lambda text: str(view(text).edits.pairs), some or texts[:20]),
    ]
    if some:
        by_grammar = lambda text: TreeSitterView(text, "python").identifiers()  # noqa: E731
        cases.append(("tokens and identifiers by tree-sitter", by_grammar, some))
    print(f"{len(texts)} files, {sum(map(len, texts)) / 1e6:.1f} MB of Python {sys.version[:6]}")
    reached = 0.0
    for name, work, given in cases:
        speed = megabytes_a_second(work, given, rounds)
        reached = reached or speed
        print(f"{name:<40} {speed:7.2f} MB/s", flush=True)
    verdict = "reached" if reached >= BAR else "missed"
    print(f"bar of {BAR} MB/s for tokens and identifiers: {verdict}")
    sys.exit(reached < BAR)


if __name__ == "__main__":
    tyro.cli(main)
