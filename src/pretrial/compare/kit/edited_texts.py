"""What an encoder-decoder knows of texts that it has not read: probes, restoration, infilling.

Texts are given as windows of token ids; which of them are changed, and how, depends on the texts
alone, so every model is asked the same. A method tells by a `Reader` how it reads them; so any
objective for encoders, or for both sides, can be tried on what errors are to it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrial.compare.trial import Items
from pretrial.corrupt.draws import row_seeds
from pretrial.corrupt.noise import local_shuffle, random_replacement, text_infilling
from pretrial.corrupt.whole_words import word_begins
from pretrial.data.windows.cutting import TokenWindows
from pretrial.errors import UserError
from pretrial.evaluate.retrieval import Search, ranking_metrics
from pretrial.models.architectures.framed_texts import Frame, framed_states
from pretrial.models.architectures.language_model import label_losses
from pretrial.models.architectures.seq2seq import collate
from pretrial.train.device import to_device
from pretrial.train.stage import Batch

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


@dataclass(frozen=True)
class Reader:
    """A method in eval mode, as the measures ask it.

    Attributes:
        method: with the ability `encode`, a `tokenizer`, a `network`, and a `batch` of windows.
        frame: what stands around a text in a source.
        begin: token ids that every target begins with.
        special: ids that are never changed.
        ordinary: ids that others are replaced by.
        length: most tokens of a window.
        unchanged: name of the field of a batch whose sources are not shuffled and replaced.
    """

    method: Any
    frame: Frame
    begin: list[int]
    special: NDArray[np.int64]
    ordinary: NDArray[np.int64]
    length: int
    unchanged: str = "input_ids"

    @property
    def pad(self) -> int:
        """The padding token."""
        return int(self.method.tokenizer.pad_token_id)

    def states(self, windows: Sequence[list[int]]) -> list[NDArray[np.float32]]:
        """The encoder's states of the tokens of each window [T, d]."""
        found = framed_states(self.method.network, windows, self.frame, self.pad)
        return [states.numpy() for states in found]


def measure(
    reader: Reader,
    halves: Sequence[Sequence[str]],
    least: int,
    most: int,
    groups: Sequence[Hashable] = (),
) -> dict[str, float | list[float] | Items]:
    """All measures, of texts to learn the probes from and texts to test on.

    Args:
        reader: of the method.
        halves: texts of either side.
        least: tokens of a text that takes part.
        most: texts of either side that take part.
        groups: of the texts to test on, such as their modules; by default each is its own.

    Returns:
        "edit_f05", "shuffle_found", "half_mrr", "restoration_loss" and "infilling_loss".
    """
    learn = windows_of(reader, halves[0], least, most)
    found = _windows(reader, halves[1], least, most)
    test = [window for _, window in found]
    own = [groups[place] if groups else place for place, _ in found]
    wrong_learn, wrong_test = (edited_texts(reader, each) for each in (learn, test))
    shuffled = [one_window_shuffled(each) for each in (learn, test)]
    return {
        "edit_f05": edit_f05(reader, wrong_learn, wrong_test),
        "shuffle_found": shuffled_found(reader, *shuffled),
        "half_mrr": Items(half_ranks(reader, test), own),
        "restoration_loss": restoration_losses(reader, wrong_test),
        "infilling_loss": Items(infilling_losses(reader, test), own),
    }


def copied_losses(
    reader: Reader, texts: Sequence[str], least: int, most: int, ratio: float, mean_length: float
) -> list[float]:
    """What infilling costs who copies all that is seen, and writes the rest by shares of tokens.

    Args:
        reader: of `floors.TokenCounts`.
        texts: to test on.
        least: as in `measure`.
        most: as in `measure`.
        ratio: share of the words that is hidden.
        mean_length: of a hidden span, in words.

    Returns:
        Nats a token of each text, as `infilling_losses`, its first and last token included.
    """
    counts, windows = reader.method, windows_of(reader, texts, least, most)
    begins = word_begins(counts.tokenizer)
    hidden = text_infilling(
        windows,
        row_seeds(len(windows), torch.Generator().manual_seed(0)),
        mask_id=counts.tokenizer.mask_token_id,
        ratio=ratio,
        mean_length=mean_length,
        word_starts=[begins[torch.tensor(window)].tolist() for window in windows],
    )
    return [
        float(-sum(counts.shares[token] for span in each.spans for token in span))
        / (len(window) + 2)
        for window, each in zip(windows, hidden, strict=True)
    ]


def windows_of(reader: Reader, texts: Sequence[str], least: int, most: int) -> list[list[int]]:
    """The first windows of so many texts, of those that have `least` tokens, or fill their window.

    Raises:
        UserError: none has.
    """
    return [window for _, window in _windows(reader, texts, least, most)]


def _windows(
    reader: Reader, texts: Sequence[str], least: int, most: int
) -> list[tuple[int, list[int]]]:
    """The windows of `windows_of`, each with the place of its text."""
    found: list[tuple[int, list[int]]] = []
    least = min(least, reader.length)
    for place, text in enumerate(texts):
        windows = TokenWindows([text], reader.method.tokenizer, reader.length)
        if len(windows) and len(windows[0]) >= least:
            found.append((place, windows[0]))
        if len(found) == most:
            break
    if not found:
        raise UserError(f"no text has {least} tokens or more: give longer ones to test on")
    return found


def edited_texts(reader: Reader, windows: Sequence[list[int]]) -> list[Edited]:
    """Texts with errors, those left out that by chance got none."""
    seeds = row_seeds(len(windows), torch.Generator().manual_seed(0))
    found = []
    for window, seed in zip(windows, seeds, strict=True):
        ids, own = np.array([window]), np.array([seed])
        free = ~np.isin(ids, reader.special)
        shuffled = local_shuffle(ids, free, own, ratio=_SHUFFLED_RATIO)
        wrong = random_replacement(
            shuffled.inputs,
            free & ~shuffled.moved,
            own,
            ratio=_REPLACED_RATIO,
            random_ids=reader.ordinary,
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


def infilling_losses(reader: Reader, windows: Sequence[list[int]]) -> list[float]:
    """nll a token of each text, written from its view with masks only."""
    generator = torch.Generator().manual_seed(0)
    found: list[float] = []
    for start in range(0, len(windows), _AT_ONCE):
        batch = reader.method.batch(windows[start : start + _AT_ONCE], generator)
        losses = _nll(reader, batch | {"input_ids": batch[reader.unchanged]})
        found += (losses.sum(1) / batch["loss_mask"].sum(1)).tolist()
    return found


def restoration_losses(reader: Reader, texts: Sequence[Edited]) -> list[float]:
    """nll a token of the right text at the edited places, given the wrong one and what precedes.

    Needs a BART, which writes whole texts.
    """
    begin, end = reader.begin, int(reader.method.tokenizer.eos_token_id)
    found: list[float] = []
    for start in range(0, len(texts), _AT_ONCE):
        some = texts[start : start + _AT_ONCE]
        sources = reader.frame.around([each.wrong for each in some])
        targets = [[*begin, *each.right, end] for each in some]
        batch = collate(sources, targets, reader.pad)
        losses = _nll(reader, batch)
        for each, row in zip(some, losses, strict=True):
            own = row[len(begin) : len(begin) + len(each.right)]
            found.append(float(own[torch.from_numpy(each.edited)].mean()))
    return found


@torch.no_grad()
def _nll(reader: Reader, batch: Batch) -> Tensor:
    """-log p of every label [B, U] on the CPU, 0 at padding; the method is in eval mode."""
    network = reader.method.network
    return label_losses(network, to_device(batch, network.device)).cpu()


def edit_f05(reader: Reader, learn: Sequence[Edited], test: Sequence[Edited]) -> float:
    """F0.5 of finding edited tokens by a linear classifier on the encoder's frozen states."""
    guesses = _token_scores(
        reader,
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
    reader: Reader, learn: Sequence[tuple[list[int], int]], test: Sequence[tuple[list[int], int]]
) -> list[float]:
    """1.0 for each text whose shuffled window is the one that a linear probe of tokens names."""
    labels = []
    for window, start in learn:
        own = np.zeros(len(window), dtype=bool)
        own[start : start + _WIDTH] = True
        labels.append(own)
    texts = [window for window, _ in test]
    scores = _token_scores(reader, [window for window, _ in learn], labels, texts)
    sums = [np.convolve(each, np.ones(_WIDTH), "valid") for each in scores]
    return [float(each.argmax() == start) for each, (_, start) in zip(sums, test, strict=True)]


def _token_scores(
    reader: Reader,
    learn: Sequence[list[int]],
    labels: Sequence[NDArray[np.bool_]],
    test: Sequence[list[int]],
) -> list[NDArray[np.float64]]:
    """Log-odds of the label for each token of the test texts, by logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    states = np.concatenate(reader.states(learn))[:_PROBED_TOKENS]
    wanted = np.concatenate(labels)[:_PROBED_TOKENS]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    model.fit(states, wanted)
    return [model.decision_function(each) for each in reader.states(test)]


def half_ranks(reader: Reader, windows: Sequence[list[int]]) -> list[float]:
    """1 / rank of each text's second half among all, by its first half."""
    parts = [(window[: len(window) // 2], window[len(window) // 2 :]) for window in windows]
    decode = reader.method.tokenizer.decode
    firsts, seconds = ([decode(part[side]) for part in parts] for side in (0, 1))
    left, right = (
        torch.nn.functional.normalize(reader.method.encode(texts), dim=-1).numpy()
        for texts in (firsts, seconds)
    )
    search = Search(firsts, seconds, [[place] for place in range(len(parts))])
    return ranking_metrics(left @ right.T, search)["mrr"]
