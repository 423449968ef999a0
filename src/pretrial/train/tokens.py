"""Windows of token ids for a stage: in memory, or on the disk where the texts are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pretrial.data.rows import is_on_disk
from pretrial.data.windows import DiskWindows, TokenWindows, write_windows
from pretrial.train.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def token_windows(
    run: Run, name: str, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, length: int
) -> Sequence[list[int]]:
    """The windows of texts; see `TokenWindows`.

    Args:
        run: keeps the windows of texts on the disk as an artefact, so that they are cut once.
        name: of the texts, unique in the run.
        texts: where they are, their windows are too.
        tokenizer: of the model.
        length: tokens of a window at most.
    """
    if not is_on_disk(texts):
        return TokenWindows(texts, tokenizer, length)
    folder = run.once(
        f"windows-{name}-{length}",
        lambda folder: write_windows(folder, texts, tokenizer, length),
        purpose="tokenise",
    )
    return DiskWindows(folder)
