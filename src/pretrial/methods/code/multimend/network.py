"""A T5 that learns fixes, the checkpoints of a training, and the likeliest texts of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretrial.methods.code.multimend.abilities.ranking import Beam
from pretrial.methods.code.multimend.data.fixes import Fix, source_text, target_text
from pretrial.models.architectures.language_model import TextToText
from pretrial.models.architectures.seq2seq import collate, plain_text
from pretrial.models.decoding.write import beams
from pretrial.train.stage import Batch

_SHORTEST_LABEL = 3  # an empty text has two tokens: train_model.py
_CHARACTERS_A_TOKEN = 32  # more are rare; what lies further on is cut before it is split
_PREFIX = "checkpoint-"  # of the folders of earlier checkpoints, here and in transformers


class FixModel(TextToText):
    """An encoder-decoder that learns to write right lines for wrong ones; examples are `Fix`es."""

    def ids(self, text: str) -> list[int]:
        """Tokens of a text; an end token written out in it is unknown, as in the release."""
        plain = text.replace(self.tokenizer.eos_token, self.tokenizer.unk_token)
        return list(self.tokenizer(plain)["input_ids"])

    def source_ids(self, text: str) -> list[int]:
        """Tokens of a source, cut at its end where it is too long."""
        ids = self.ids(text[: self.max_source * _CHARACTERS_A_TOKEN])
        return ids if len(ids) <= self.max_source else [*ids[: self.max_source - 1], ids[-1]]

    def fits(self, fix: Fix) -> bool:
        """Whether a pair can be learned from: neither its lines nor their target are too long."""
        num_read = len(self.ids(source_text(fix.removed, "", fix.language)))
        num_written = len(self.ids(target_text(fix.added)))
        return num_read <= self.max_source and _SHORTEST_LABEL <= num_written <= self.max_target

    def batch(self, examples: Sequence[Any], generator: Any) -> Batch:
        """Sources without retrieved lines, which are for repair alone, and right lines."""
        sources = [self.source_ids(fix.source) for fix in examples]
        targets = [self.ids(target_text(fix.added)) for fix in examples]
        return collate(sources, targets, self.pad)


def checkpoints(source: str | Path, number: int) -> list[str | Path]:
    """Where the model lies, last, and before it the earlier checkpoints, the oldest first.

    A folder written by `save` holds them beside the model; one of a training by transformers holds
    nothing else, and its last ones, so many as `number`, are taken.
    """
    found = {
        int(folder.name.removeprefix(_PREFIX)): folder
        for folder in Path(source).glob(f"{_PREFIX}*")
        if folder.name.removeprefix(_PREFIX).isdecimal() and (folder / "config.json").is_file()
    }
    folders: list[str | Path] = [found[step] for step in sorted(found)]
    if found and not (Path(source) / "config.json").is_file():
        return folders[-number:]
    return [*folders, source]


def likeliest(
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
        model: a checkpoint.
        tokenizer: its tokenizer.
        sources: token ids with their special tokens.
        num_beams: beams.
        num_candidates: texts for each source, at most the beams.
        max_target: longest text, in tokens.
    """
    found = beams(
        model,
        sources,
        max_new_tokens=max_target,
        pad=tokenizer.pad_token_id,
        num_beams=num_beams,
        num_texts=num_candidates,
        early_stopping=True,
    )
    return [[(plain_text(tokenizer, ids), score) for ids, score in group] for group in found]
