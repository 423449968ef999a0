"""Milliseconds a query of the exact index, over 100,000 vectors of 256 numbers.

    OMP_NUM_THREADS=1 python bench/retrieval.py [--documents 100000] [--width 256]

One query at a time and 64 at once, top 10, one thread, median and worst of the repeats; with
faiss-cpu installed its flat index takes turns with ours on the same vectors. The bar is 50 ms for a
single query.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from pretrial.evaluate.index import Index


def faiss_index(vectors: Any) -> Any:
    """faiss' flat inner-product index of the vectors, or None without faiss."""
    try:
        import faiss
    except ModuleNotFoundError:
        return None
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def timed(work: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median and worst milliseconds."""
    seen = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        seen.append(1000 * (time.perf_counter() - start))
    return statistics.median(seen[1:]), max(seen[1:])  # the first one warms caches


def main(documents: int = 100_000, width: int = 256, top: int = 10, repeats: int = 20) -> None:
    """Runs the comparison.

    Args:
        documents: vectors in the index.
        width: numbers in a vector.
        top: documents a query.
        repeats: timed calls.
    """
    source = np.random.default_rng(0)
    made = Index.of(source.standard_normal((documents, width), dtype=np.float32))
    queries = source.standard_normal((64, width), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        made.save(Path(folder) / "index")
        index = Index.load(Path(folder) / "index")
        print(f"saved and loaded in {time.perf_counter() - start:.2f} s")
        ways: dict[str, Callable[[Any], Any]] = {"ours": lambda q: index.search(q, top)}
        peer = faiss_index(made.vectors)
        if peer is not None:
            ways["faiss flat"] = lambda q: peer.search(q, top)
        for name, find in ways.items():
            for count in (1, len(queries)):
                middle, worst = timed(partial(find, queries[:count]), repeats)
                print(
                    f"{name:<12} {count:>3} at once  {middle / count:7.2f} ms a query"
                    f" (worst {worst / count:.2f})"
                )


if __name__ == "__main__":
    tyro.cli(main)
