"""Texts translated to another language and back, by two public checkpoints: variants of a text.

For whatever learns that a sentence said otherwise is the same, or has too few texts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pretrial.checkpoints.keys import load_pretrained, load_tokenizer
from pretrial.train.run import Run

_TRANSLATIONS = "translations.json"
_AT_ONCE = 32  # texts that are translated together


def back_translations(texts: Sequence[str], translators: Sequence[str], run: Run) -> dict[str, str]:
    """Each text's translation back, computed once a run and kept with it.

    Args:
        texts: in the language that the first translator reads.
        translators: two sequence-to-sequence checkpoints, such as Helsinki-NLP/opus-mt-en-de and
            Helsinki-NLP/opus-mt-de-en.
        run: keeps them.

    Raises:
        UserError: a translator cannot be loaded.
    """

    def make(folder: Path) -> None:
        each = list(dict.fromkeys(texts))
        found = each
        for name in translators:
            found = translate(found, name, run.device)
        pairs = dict(zip(each, found, strict=True))
        (folder / _TRANSLATIONS).write_text(json.dumps(pairs), encoding="utf-8")

    folder = run.once("translations", make)
    return json.loads((folder / _TRANSLATIONS).read_text(encoding="utf-8"))


@torch.no_grad()
def translate(texts: Sequence[str], name: str, device: torch.device | str = "cpu") -> list[str]:
    """What a translator gives for each text, by greedy search.

    Args:
        texts: in the language that it reads.
        name: name or folder of a sequence-to-sequence checkpoint.
        device: where it runs.

    Raises:
        UserError: it cannot be loaded.
    """
    from transformers import AutoModelForSeq2SeqLM

    tokenizer: Any = load_tokenizer(name)
    model: Any = load_pretrained(AutoModelForSeq2SeqLM, name)
    model.eval().to(device)
    found: list[str] = []
    for start in range(0, len(texts), _AT_ONCE):
        some = list(texts[start : start + _AT_ONCE])
        inputs = tokenizer(some, padding=True, truncation=True, max_length=256, return_tensors="pt")
        ids = model.generate(
            input_ids=inputs["input_ids"].to(device),
            attention_mask=inputs["attention_mask"].to(device),
            max_new_tokens=2 * inputs["input_ids"].shape[1],
            num_beams=1,
            do_sample=False,
        )
        found += tokenizer.batch_decode(ids, skip_special_tokens=True)
    return found
