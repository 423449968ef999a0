"""What an encoder-decoder knows of texts that it has not read: probes, restoration, infilling.

Texts are given as windows of token ids; which of them are changed, and how, depends on the texts
alone, so every model is asked the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrial.corrupt.draws import row_seeds
from pretrial.corrupt.noise import local_shuffle, random_replacement
from pretrial.data.windows.cutting import TokenWindows
from pretrial.evaluate.retrieval import Search, ranking_metrics
from pretrial.models.architectures.language_model import label_losses
from pretrial.models.architectures.seq2seq import collate
from pretrial.train.device import to_device
from pretrial.train.stage import Batch

if TYPE_CHECKING:
    from pretrial.methods.text.e2s2 import E2S2

_AT_ONCE = 64
_SHUFFLED_RATIO = 0.1  # windows for each token, in texts to be restored
_REPLACED_RATIO = 0.1
_PROBED_TOKENS = 4000
_WIDTH = 3


class Edited(NamedTuple):
    """A text with errors.

    Attributes:
        right: the token ids as they were.
        wrong: with neighbours shuffled and tokens replaced, of the same length.
    """

    right: list[int]
    wrong: list[int]

    @property
    def edited(self) -> NDArray[np.bool_]:
        """True where the two differ."""
        return np.array(self.right) != np.array(self.wrong)


def windows_of(method: E2S2, texts: Sequence[str], least: int, most: int) -> list[list[int]]:
    """The first windows of so many texts, of those that have `least` tokens or more."""
    found: list[list[int]] = []
    for text in texts:
        windows = TokenWindows([text], method.tokenizer, method.views.length)
        if len(windows) and len(windows[0]) >= least:
            found.append(windows[0])
        if len(found) == most:
            break
    return found


def edited_texts(method: E2S2, windows: Sequence[list[int]]) -> list[Edited]:
    """Texts with errors, those left out that by chance got none."""
    seeds = row_seeds(len(windows), torch.Generator().manual_seed(0))
    found = []
    for window, seed in zip(windows, seeds, strict=True):
        ids, own = np.array([window]), np.array([seed])
        free = ~np.isin(ids, method.views.special)
        shuffled = local_shuffle(ids, free, own, ratio=_SHUFFLED_RATIO)
        wrong = random_replacement(
            shuffled.inputs,
            free & ~shuffled.moved,
            own,
            ratio=_REPLACED_RATIO,
            random_ids=method.views.ordinary,
        ).inputs[0]
        if (wrong != ids[0]).any():
            found.append(Edited(window, wrong.tolist()))
    return found


def one_window_shuffled(windows: Sequence[list[int]]) -> list[tuple[list[int], int]]:
    """Texts in which one window of three neighbours is in another order, and where it begins."""
    rng = np.random.default_rng(0)
    found = []
    for window in windows:
        start = int(rng.integers(len(window) - _WIDTH + 1))
        part = window[start : start + _WIDTH]
        order = [0, 1, 2]
        while order == [0, 1, 2]:
            order = rng.permutation(_WIDTH).tolist()
        shuffled = [part[place] for place in order]
        if shuffled != part:
            found.append(([*window[:start], *shuffled, *window[start + _WIDTH :]], start))
    return found


@torch.no_grad()
def token_states(method: E2S2, windows: Sequence[list[int]]) -> list[NDArray[np.float32]]:
    """The encoder's states of the tokens of each window [T, d]."""
    before, behind = method.views.frame
    found: list[Any] = [None] * len(windows)
    sources = [[*before, *window, *behind] for window in windows]
    for rows, states, _ in method.states(sources, _AT_ONCE):
        for row, own in zip(rows, states.float().cpu().numpy(), strict=True):
            found[row] = own[len(before) : len(before) + len(windows[row])]
    return found


def infilling_losses(method: E2S2, windows: Sequence[list[int]]) -> list[float]:
    """Nats a token of each text, written from its view with masks only."""
    generator = torch.Generator().manual_seed(0)
    found: list[float] = []
    for start in range(0, len(windows), _AT_ONCE):
        batch = method.batch(windows[start : start + _AT_ONCE], generator)
        losses = _nll(method, batch | {"input_ids": batch["masked"]})
        found += (losses.sum(1) / batch["loss_mask"].sum(1)).tolist()
    return found


def restoration_losses(method: E2S2, texts: Sequence[Edited]) -> list[float]:
    """Nats a token of the right text at the edited places, given the wrong text and what precedes.

    Needs a BART, which writes whole texts.
    """
    begin, end = method.views.begin, method.views.end
    found: list[float] = []
    for start in range(0, len(texts), _AT_ONCE):
        some = texts[start : start + _AT_ONCE]
        sources = [[*method.views.frame.before, *t.wrong, *method.views.frame.behind] for t in some]
        targets = [[*begin, *each.right, end] for each in some]
        batch = collate(sources, targets, int(method.tokenizer.pad_token_id))
        losses = _nll(method, batch)
        for each, row in zip(some, losses, strict=True):
            own = row[len(begin) : len(begin) + len(each.right)]
            found.append(float(own[torch.from_numpy(each.edited)].mean()))
    return found


@torch.no_grad()
def _nll(method: E2S2, batch: Batch) -> Tensor:
    """-log p of every label [B, U] on the CPU, 0 at padding; the method is in eval mode."""
    return label_losses(method.network, to_device(batch, method.network.device)).cpu()


def edit_f05(method: E2S2, learn: Sequence[Edited], test: Sequence[Edited]) -> float:
    """F0.5 of finding edited tokens by a linear classifier on the encoder's frozen states."""
    guesses = _token_scores(
        method,
        [each.wrong for each in learn],
        [each.edited for each in learn],
        [each.wrong for each in test],
    )
    found = np.concatenate(guesses) > 0
    wanted = np.concatenate([each.edited for each in test])
    both = float((found & wanted).sum())
    precision, recall = both / max(1, found.sum()), both / wanted.sum()
    return 1.25 * precision * recall / (0.25 * precision + recall) if both else 0.0


def shuffled_found(
    method: E2S2, learn: Sequence[tuple[list[int], int]], test: Sequence[tuple[list[int], int]]
) -> list[float]:
    """1.0 for each text whose shuffled window is the one that a linear probe of tokens names."""
    labels = []
    for window, start in learn:
        own = np.zeros(len(window), dtype=bool)
        own[start : start + _WIDTH] = True
        labels.append(own)
    texts = [window for window, _ in test]
    scores = _token_scores(method, [window for window, _ in learn], labels, texts)
    sums = [np.convolve(each, np.ones(_WIDTH), "valid") for each in scores]
    return [float(each.argmax() == start) for each, (_, start) in zip(sums, test, strict=True)]


def _token_scores(
    method: E2S2,
    learn: Sequence[list[int]],
    labels: Sequence[NDArray[np.bool_]],
    test: Sequence[list[int]],
) -> list[NDArray[np.float64]]:
    """Log-odds of the label for each token of the test texts, by logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    states = np.concatenate(token_states(method, learn))[:_PROBED_TOKENS]
    wanted = np.concatenate(labels)[:_PROBED_TOKENS]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    model.fit(states, wanted)
    return [model.decision_function(each) for each in token_states(method, test)]


def half_ranks(method: E2S2, windows: Sequence[list[int]]) -> list[float]:
    """1 / rank of each text's second half among all, by its first half."""
    parts = [(window[: len(window) // 2], window[len(window) // 2 :]) for window in windows]
    decode = method.tokenizer.decode
    firsts, seconds = ([decode(part[side]) for part in parts] for side in (0, 1))
    left, right = (
        torch.nn.functional.normalize(method.encode(texts), dim=-1).numpy()
        for texts in (firsts, seconds)
    )
    search = Search(firsts, seconds, [[place] for place in range(len(parts))])
    return ranking_metrics(left @ right.T, search)["mrr"]
