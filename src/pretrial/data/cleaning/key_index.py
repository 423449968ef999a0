"""Keys of texts in little memory: twelve bytes each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pretrial.data.cleaning.shingles import Hashes


class KeyIndex:
    """Which texts have a key: sorted runs, each at least as long as the next.

    A new run is merged with those before it that are no longer, so that there are few: log2 of the
    number of batches. A search in sorted arrays takes a tenth of the memory of a dict.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Hashes, NDArray[np.int32]]] = []

    def add(self, keys: Hashes, places: NDArray[np.int32]) -> None:
        """Remembers the keys [N, bands] of texts at `places` [N]."""
        run = keys.ravel(), np.repeat(places, keys.shape[1])
        while self._runs and len(self._runs[-1][0]) <= len(run[0]):
            older = self._runs.pop()
            run = np.concatenate([older[0], run[0]]), np.concatenate([older[1], run[1]])
        order = np.argsort(run[0], kind="stable")
        self._runs.append((run[0][order], run[1][order]))

    def find(self, keys: Hashes) -> dict[int, set[int]]:
        """By row of the keys [N, bands], the first text of each run with one of them."""
        found: dict[int, set[int]] = {}
        flat = keys.ravel()
        for known, places in self._runs:
            at = np.minimum(np.searchsorted(known, flat), len(known) - 1)
            for hit in np.flatnonzero(known[at] == flat):
                found.setdefault(int(hit) // keys.shape[1], set()).add(int(places[at[hit]]))
        return found

    def contains(self, keys: Hashes) -> NDArray[np.bool_]:
        """Whether any text has each key [N]."""
        found = np.zeros(len(keys), dtype=bool)
        for known, _ in self._runs:
            at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            found |= known[at] == keys
        return found
