"""Windows of token ids for a stage: in memory, or on the disk where the texts are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pretrial.data.rows import is_on_disk
from pretrial.data.windows.cutting import DiskWindows, Windows, cut, joined, write_windows
from pretrial.errors import UserError
from pretrial.train.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def kept_windows(
    run: Run, name: str, windows: Iterable[Sequence[int]], on_disk: bool
) -> Sequence[list[int]]:
    """Windows that are made once.

    Args:
        run: keeps those on the disk as an artefact, so that a run that goes on finds them.
        name: unique in the run.
        windows: read once, if at all.
        on_disk: whether to keep them there, not in memory.
    """
    if not on_disk:
        return Windows(windows)
    folder = run.once(
        f"windows-{name}", lambda folder: write_windows(folder, windows), purpose="tokenise"
    )
    return DiskWindows(folder)


def run_windows(
    run: Run,
    make: Callable[[Sequence[Any]], Iterable[Sequence[int]]],
    *,
    name: str = "",
    empty: str = "there is no text to learn from: give rows with 'text'",
) -> tuple[Sequence[list[int]], Sequence[list[int]]]:
    """Windows of a run's data and of what was held out; see `kept_windows`.

    Args:
        run: with the examples.
        make: gives the windows of some of them, such as by `windows.cutting.cut`.
        name: tells these windows from others that the run keeps.
        empty: the error for data without a window.

    Raises:
        UserError: the data has no window.
    """
    windows, held_out = (
        kept_windows(
            run, "-".join(filter(None, (part, name))), make(examples), is_on_disk(examples)
        )
        for part, examples in (("data", run.data), ("held-out", run.held_out))
    )
    if not len(windows):
        raise UserError(empty)
    return windows, held_out


def token_windows(
    run: Run, name: str, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, length: int
) -> Sequence[list[int]]:
    """The windows of texts; see `windows.cut`.

    Args:
        run: see `kept_windows`.
        name: of the texts, unique in the run.
        texts: where they are, their windows are too.
        tokenizer: of the model.
        length: tokens of a window at most.
    """
    return kept_windows(run, f"{name}-{length}", cut(texts, tokenizer, length), is_on_disk(texts))


def joined_windows(
    run: Run,
    name: str,
    tokens: Sequence[list[int]],
    lists: Iterable[Iterable[int]],
    length: int,
    end: int,
) -> Sequence[list[int]]:
    """The windows of texts that are joined; see `windows.joined`.

    Args:
        run: see `kept_windows`.
        name: unique in the run.
        tokens: of each text; where they are, the windows are too.
        lists: places of the texts to join.
        length: tokens of a window.
        end: the end token.
    """
    return kept_windows(run, name, joined(tokens, lists, length, end), is_on_disk(tokens))
