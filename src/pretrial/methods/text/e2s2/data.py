"""Texts, and two views of each: with masks only and with noise on top, and what the noise did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pretrial.corrupt.draws import row_seeds
from pretrial.corrupt.masks import IGNORE
from pretrial.corrupt.noise import (
    local_shuffle,
    random_replacement,
    sparse_shuffle,
    text_infilling,
)
from pretrial.corrupt.spans import span_corruption
from pretrial.corrupt.whole_words import word_begins
from pretrial.methods.text.e2s2.config import Config
from pretrial.models.architectures.framed_texts import Frame
from pretrial.models.architectures.seq2seq import collate
from pretrial.models.tokenizers import sentinel_ids
from pretrial.train.stage import Batch

_PROMPT = ('This sentence: "', '" means')
#: What became of a token; one that was replaced has the number of kinds of noise, 2 or 1.
INTACT, MOVED = 0, 1
_RELEASED_REPLACEMENTS = 0.15  # data/denoising_dataset.py, whatever --e2s2-random says


@dataclass(frozen=True)
class Example:
    """A text, and what is to be written for it where that is known, such as a label."""

    text: str
    target: Any = ""


class Views:
    """Makes batches of windows of token ids.

    Args:
        tokenizer: of the checkpoint.
        config: lengths, ratios, architecture and pooling.

    Attributes:
        frame: what stands around a text.
        length: most tokens of a window.
    """

    def __init__(self, tokenizer: Any, config: Config) -> None:
        self.tokenizer = tokenizer
        self.config = config
        self.sentinels = sentinel_ids(tokenizer)
        is_t5 = config.architecture == "t5"
        self.mask = self.sentinels[-1] if is_t5 else int(tokenizer.mask_token_id)
        self.end = int(tokenizer.eos_token_id)
        self.begin = [] if is_t5 else [int(tokenizer.bos_token_id)]
        inner = Frame([], [])
        if config.pooling == "prompt":
            inner = Frame.of_prompt(tokenizer, _PROMPT, self.mask)
        self.frame = Frame([*self.begin, *inner.before], [*inner.behind, self.end])
        self.length = self.frame.room(config.max_length)
        special = {*tokenizer.all_special_ids, *self.sentinels, self.mask}
        self.special = np.array(sorted(special))
        self.ordinary = np.setdiff1d(np.arange(len(tokenizer)), self.special)

    def batch(self, windows: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """The views of windows of token ids without special tokens.

        Returns:
            masked: sources with spans hidden [B, T].
            noisy: the same, shuffled and with tokens replaced [B, T].
            attention_mask: 1 at tokens [B, T].
            labels: what is written, `IGNORE` at padding [B, U].
            loss_mask: True at labels [B, U].
            kinds: what became of each token of the noisy view: `INTACT`, `MOVED` or the class
                of replaced ones, `IGNORE` at padding [B, T].
            counts: "examples", "sources" (tokens of a view), "targets" (of the labels) and
                "tokens" (both, for every view that is needed).
        """
        seeds = row_seeds(len(windows), generator)
        hidden, targets = self._hide(windows, seeds)
        batch = collate(self.frame.around(hidden), targets, int(self.tokenizer.pad_token_id))
        masked, is_token = batch.pop("input_ids"), batch["attention_mask"].numpy() == 1
        noisy, kinds = self._noise(masked.numpy(), is_token.sum(1), seeds)
        kinds[~is_token] = IGNORE
        views = {"masked": masked, "noisy": torch.from_numpy(noisy)}
        counts = batch["counts"] | {"sources": float(is_token.sum())}
        counts["tokens"] *= len(self.config.views)
        return {**batch, **views, "kinds": torch.from_numpy(kinds), "counts": counts}

    def _hide(
        self, windows: Sequence[list[int]], seeds: NDArray[np.int64]
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Windows with spans hidden (BART, 1910.13461, section 2.2), and what is to be written."""
        config = self.config
        begins = word_begins(self.tokenizer)
        starts = [begins[torch.tensor(window)].tolist() for window in windows]
        if config.architecture == "bart":
            infilled = text_infilling(
                windows,
                seeds,
                mask_id=self.mask,
                ratio=config.infill_ratio,
                mean_length=config.mean_length,
                word_starts=starts,
            )
            targets = [[*self.begin, *window, self.end] for window in windows]
            return [each.inputs for each in infilled], targets
        pairs = [
            span_corruption(
                window,
                self.sentinels,
                config.infill_ratio,
                config.mean_length,
                generator=torch.Generator().manual_seed(int(seed)),
                word_starts=words,
            )
            for window, words, seed in zip(windows, starts, seeds, strict=True)
        ]
        return [row for row, _ in pairs], [[*labels, self.end] for _, labels in pairs]

    def _noise(
        self, masked: NDArray[np.int64], lengths: NDArray[np.int64], seeds: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The noisy view [B, T], and what became of each token [B, T].

        With the release's noise the ratios only say which kinds there are.
        """
        config, inside = self.config, self.frame.inside(lengths, masked.shape[1])
        free = inside & ~np.isin(masked, self.special)
        noisy, kinds = masked, np.full_like(masked, INTACT)
        as_released = config.noise == "release"
        if config.shuffle_ratio:
            if as_released:
                words = word_begins(self.tokenizer).numpy()[masked]
                shuffled = sparse_shuffle(noisy, free, seeds, word_starts=words)
            else:
                shuffled = local_shuffle(noisy, free, seeds, ratio=config.shuffle_ratio)
            noisy, kinds[shuffled.moved] = shuffled.inputs, MOVED
        if config.replace_ratio:
            free = (inside if as_released else free) & (kinds == INTACT)
            ratio = _RELEASED_REPLACEMENTS if as_released else config.replace_ratio
            replaced = random_replacement(noisy, free, seeds, ratio=ratio, random_ids=self.ordinary)
            noisy = replaced.inputs
            kinds[replaced.labels != IGNORE] = config.num_noises
        return noisy, kinds
