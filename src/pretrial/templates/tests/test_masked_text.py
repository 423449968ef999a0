"""What makes MaskedText what it is; the contract is held by `pretrial check masked_text`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from pretrial.corrupt.masks import chosen_of
from pretrial.discover import load

LOADED = load("masked_text")
METHOD = LOADED.method
TEXTS = METHOD.read(METHOD.sample_rows())


def losses(focus: float) -> tuple[dict[str, float], Any]:
    """The losses of a batch under some focus, and the plain loss of each hidden token."""
    torch.manual_seed(0)
    method: Any = METHOD.build(replace(LOADED.config.tiny(), focus=focus), data=TEXTS)
    windows = method.tokenizer(TEXTS[:8], add_special_tokens=False)["input_ids"]
    batch = method.batch([ids[:20] for ids in windows], torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = method.states(batch["input_ids"], batch["attention_mask"])
        logits = method.network.cls(chosen_of(states, batch))
        found = {name: float(value) for name, value in method.losses(batch).items()}
    return found, cross_entropy(logits, chosen_of(batch["labels"], batch), reduction="none")


def test_without_focus_it_is_the_plain_loss() -> None:
    found, nll = losses(focus=0.0)
    assert found["loss"] == found["mlm_loss"]
    torch.testing.assert_close(found["loss"], float(nll.mean()))


def test_a_token_counts_by_how_hard_it_is() -> None:
    found, nll = losses(focus=2.0)
    expected = ((1 - (-nll).exp()) ** 2 * nll).mean()
    torch.testing.assert_close(found["loss"], float(expected))
    assert found["loss"] < found["mlm_loss"]
