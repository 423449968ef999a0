"""Megabytes a second of removing near duplicates, beside datasketch's MinHash and LSH.

    OMP_NUM_THREADS=1 python bench/dedup.py [--megabytes 20] [--repeats 3]

Both read the same files of installed packages, in which every twentieth is planted again with a
tenth of its lines left out. Both use runs of 5 words, 128 hashes and a similarity of 0.8, and take
turns; one thread, processor time, median and worst of the repeats. datasketch is given its runs of
words in one call a text, its fastest way. What each finds of the planted copies is counted, so that
neither is fast by finding nothing. The bar is 20 MB a second, and more than datasketch.
"""

from __future__ import annotations

import random
import re
import statistics
import time
from collections.abc import Callable

import tyro

from pretrial.data.builtin.installed import installed_code
from pretrial.data.cleaning.dedup import NONE, NearDuplicates
from pretrial.data.cleaning.shingles import batches

_WORD = re.compile(r"\w+")


def corpus(megabytes: float) -> tuple[list[str], set[int]]:
    """Texts, and the places of the planted copies."""
    rng = random.Random(0)
    texts: list[str] = []
    planted: set[int] = set()
    size = 0.0
    for row in installed_code(["numpy", "sympy", "networkx", "pandas", "transformers"]):
        texts.append(row["text"])
        size += len(row["text"])
        if len(texts) % 20 == 0 and row["text"].count("\n") > 40:
            lines = row["text"].splitlines()
            start = rng.randrange(len(lines) - len(lines) // 10)
            del lines[start : start + len(lines) // 10]
            planted.add(len(texts))
            texts.append("\n".join(lines))
        if size > 1e6 * megabytes:
            break
    return texts, planted


def ours(texts: list[str]) -> set[int]:
    """Places of what our finder leaves out."""
    finder = NearDuplicates(0.8)
    found = [number for batch in batches(texts) for number in finder.add(batch)]
    return {place for place, number in enumerate(found) if number != NONE}


def datasketch(texts: list[str]) -> set[int]:
    """Places of what datasketch leaves out, candidates compared as ours are."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=0.8, num_perm=128)
    kept: dict[int, MinHash] = {}
    left_out = set()
    for place, text in enumerate(texts):
        words = _WORD.findall(text.lower())
        runs = {" ".join(words[i : i + 5]).encode() for i in range(max(len(words) - 4, 1))}
        signature = MinHash(num_perm=128)
        signature.update_batch(runs)
        if any(kept[near].jaccard(signature) >= 0.8 for near in index.query(signature)):
            left_out.add(place)
        else:
            kept[place] = signature
            index.insert(place, signature)
    return left_out


def main(megabytes: float = 20.0, repeats: int = 3) -> None:
    """Prints one line for each.

    Args:
        megabytes: of text.
        repeats: runs of each.
    """
    texts, planted = corpus(megabytes)
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts)} texts, {size:.1f} MB, {len(planted)} planted copies")
    seconds: dict[str, list[float]] = {}
    found: dict[str, set[int]] = {}
    contenders: tuple[Callable[[list[str]], set[int]], ...] = (ours, datasketch)
    for _ in range(repeats):
        for work in contenders:
            began = time.process_time()
            found[work.__name__] = work(texts)
            seconds.setdefault(work.__name__, []).append(time.process_time() - began)
    for name, each in seconds.items():
        print(
            f"{name:<11} {size / statistics.median(each):6.1f} MB/s"
            f"  (worst {size / max(each):.1f}); left out {len(found[name])},"
            f" {len(found[name] & planted)} of the planted"
        )


if __name__ == "__main__":
    tyro.cli(main)
