"""Beam search of one checkpoint: the likeliest texts with their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pretrial.methods.code.multimend.ranking import Beam
from pretrial.models.architectures.seq2seq import pad_rows

_ROWS_AT_ONCE = 400  # beams of all sources of a batch


@torch.no_grad()
def search(
    model: Any,
    tokenizer: Any,
    sources: Sequence[Sequence[int]],
    *,
    num_beams: int,
    num_candidates: int,
    max_target: int,
) -> list[Beam]:
    """For each source (text, score), the likeliest first.

    Args:
        model: an encoder-decoder model of transformers, in eval mode.
        tokenizer: its tokenizer.
        sources: token ids with their special tokens.
        num_beams: beams.
        num_candidates: texts for each source, at most the beams.
        max_target: longest text, in tokens.
    """
    order = sorted(range(len(sources)), key=lambda place: len(sources[place]))
    at_once = max(1, _ROWS_AT_ONCE // num_beams)
    found: dict[int, Beam] = {}
    for start in range(0, len(order), at_once):
        places = order[start : start + at_once]
        rows = [sources[place] for place in places]
        written = model.generate(
            input_ids=pad_rows(rows, tokenizer.pad_token_id).to(model.device),
            attention_mask=pad_rows([[1] * len(row) for row in rows], 0).to(model.device),
            num_beams=num_beams,
            num_return_sequences=num_candidates,
            max_new_tokens=max_target,
            early_stopping=num_beams > 1,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
        texts = tokenizer.batch_decode(written.sequences, skip_special_tokens=True)
        scores = _scores(model, written, num_beams, tokenizer.eos_token_id)
        for nth, place in enumerate(places):
            here = slice(nth * num_candidates, (nth + 1) * num_candidates)
            found[place] = list(zip(texts[here], scores[here], strict=True))
    return [found[place] for place in range(len(sources))]


def _scores(model: Any, written: Any, num_beams: int, end: int) -> list[float]:
    """The mean log-probability of the tokens of each text; transformers gives none for one beam."""
    if num_beams > 1:
        return list(written.sequences_scores.tolist())
    logs = model.compute_transition_scores(written.sequences, written.scores, normalize_logits=True)
    ends = (written.sequences[:, 1:] == end).long()  # [N, T], behind what the decoder begins with
    real = ends.cumsum(1) == ends  # up to the first end token, that one included
    return list((logs.masked_fill(~real, 0.0).sum(1) / real.sum(1)).tolist())
