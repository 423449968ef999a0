"""Rows as examples, and examples as token ids and tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pretrial.data.media.image import open_image
from pretrial.data.media.image_tiles import tiles
from pretrial.data.rows import likely
from pretrial.errors import UserError
from pretrial.methods.text.return_of_encoder.config import Config
from pretrial.models.architectures.language_model import LanguageModel


@dataclass(frozen=True)
class Example:
    """What is read, and what is to be written.

    Attributes:
        source: a text; it may be empty.
        target: a text; None where it is not known.
        image: what `open_image` takes, or None.
    """

    source: str
    target: str | None = None
    image: Any = None


def example_of_row(number: int, row: Mapping[str, Any]) -> Example:
    """An example; texts are checked.

    Raises:
        UserError: a field is missing, or no text.
    """
    if "source" not in row:
        raise UserError(
            f"row {number} has no field 'source' (found: {', '.join(row) or 'none'}): name the one"
            f" to use with --fields source={likely('source', row)}"
        )
    target = row.get("target")
    for name, value in (("source", row["source"]), ("target", target)):
        if value is not None and not isinstance(value, str):
            kind = type(value).__name__
            raise UserError(f"{name!r} of row {number} is a {kind}: give a string")
    if row["source"] is None:
        raise UserError(f"'source' of row {number} is empty: give a string")
    return Example(row["source"], target, row.get("image"))


class Inputs:
    """Makes token ids and tiles of examples.

    Args:
        config: lengths.
        model: the student, whose config tells where images go.
    """

    def __init__(self, config: Config, model: LanguageModel) -> None:
        self.config = config
        self.network, self.tokenizer, self.model = model.network, model.tokenizer, model

    def source(self, example: Example, num_patches: int = 0) -> list[int]:
        """Token ids of a source, one at least, places for patches first."""
        most, ending = self.config.max_source, self.config.ending
        ids = self.tokenizer(example.source + ending)["input_ids"]
        if len(ids) > most:
            behind = self.tokenizer(ending, add_special_tokens=False)["input_ids"] if ending else []
            ids = self.tokenizer(example.source)["input_ids"][: max(most - len(behind), 0)] + behind
        image = getattr(self.network.config, "image_token_id", None)
        ids = [token for token in ids if token != image]  # one written out in a text is none
        return [image] * num_patches + ids or [self.model.end]

    def target(self, example: Example) -> list[int]:
        """Token ids of a target, the end token last.

        Raises:
            UserError: there is none to learn from.
        """
        if example.target is None:
            raise UserError(
                "a row has no 'target' to learn from: name the field with --fields target=OTHER,"
                " or leave such rows out"
            )
        ids = self.tokenizer(example.target, add_special_tokens=False)["input_ids"]
        return [*ids[: self.config.max_target - 1], self.model.end]

    def sources(self, examples: Sequence[Example]) -> tuple[list[list[int]], Tensor | None]:
        """Token ids of all sources, and the tiles of all images [N, 3, h, w].

        Raises:
            UserError: there is an image and the student sees none.
        """
        vision = getattr(getattr(self.network, "encoder", None), "vision", None)
        sources, pixels = [], []
        for example in examples:
            num_patches = 0
            if example.image is not None:
                if vision is None:
                    raise UserError(
                        "a row has an image, and the student sees none: train one that does, with"
                        " --vision openai/clip-vit-large-patch14-336, say"
                    )
                size, patch = vision.config.image_size, vision.config.patch_size
                pixels.append(tiles(open_image(example.image), size, self.config.max_tiles))
                num_patches = len(pixels[-1]) * (size // patch) ** 2
            sources.append(self.source(example, num_patches))
        return sources, torch.cat(pixels) if pixels else None
