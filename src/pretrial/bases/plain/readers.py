"""From texts, images and recordings to the tensors that networks of transformers take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from pretrial.bases.plain.kinds import Modality
from pretrial.checkpoints.guard import reading, trusted
from pretrial.checkpoints.keys import load_tokenizer
from pretrial.data.media.audio import samples
from pretrial.data.media.image import open_image
from pretrial.errors import UserError

_MOST_SECONDS = 30  # of a recording that is read


class Reader:
    """What prepares contents for a network.

    Attributes:
        modality: of the contents.
    """

    modality: ClassVar[Modality]

    def inputs(self, contents: Sequence[Any]) -> dict[str, Tensor]:
        """Tensors by the names that the network takes them by."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it makes of contents")

    def length(self, content: Any) -> int:
        """About how long a content is, so that batches can hold contents of like length."""
        return 1

    def save(self, folder: Path) -> None:
        """Writes what transformers needs to prepare contents in the same way."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it is saved")


class TextReader(Reader):
    """Reads texts, pairs of texts, or texts that are lists of words.

    Args:
        tokenizer: its end token pads where it has no token for that.
        max_length: tokens that are read; longer texts are cut.
    """

    modality = "text"

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token

    def inputs(self, contents: Sequence[Any]) -> dict[str, Tensor]:
        """Token ids, and a mask that is 1 at tokens [B, T].

        Of lists of words also `word_starts` [B, T]: at the first token of each word its number,
        from 1 on; 0 elsewhere.
        """
        words = isinstance(contents[0], list)
        columns = (
            [list(column) for column in zip(*contents, strict=True)]
            if self._pairs(contents)
            else [list(contents)]
        )
        found = self.tokenizer(
            *columns,
            truncation=True,
            max_length=self.max_length,
            padding=True,
            return_tensors="pt",
            split_special_tokens=True,  # one that is written in a text is text like any other
            is_split_into_words=words,
        )
        names = ("input_ids", "attention_mask", "token_type_ids")
        inputs = {name: found[name] for name in names if name in found}
        if words:
            rows = [_starts(found.word_ids(place)) for place in range(len(contents))]
            inputs["word_starts"] = torch.tensor(rows)
        return inputs

    @staticmethod
    def _pairs(contents: Sequence[Any]) -> bool:
        return isinstance(contents[0], tuple)

    def length(self, content: Any) -> int:
        """Characters."""
        return len(content) if isinstance(content, str) else sum(map(len, content))

    def save(self, folder: Path) -> None:
        """The tokenizer, which cuts texts where the network was trained to."""
        self.tokenizer.model_max_length = self.max_length
        self.tokenizer.save_pretrained(folder)


class MediaReader(Reader):
    """Reads what a processor of transformers prepares.

    Args:
        processor: of images, or a feature extractor of sound.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def save(self, folder: Path) -> None:
        """The processor."""
        self.processor.save_pretrained(folder)


class ImageReader(MediaReader):
    """Reads images, in colour."""

    modality = "image"

    def inputs(self, contents: Sequence[Any]) -> dict[str, Tensor]:
        """Pixels [B, C, H, W]."""
        images = [open_image(content) for content in contents]
        return {"pixel_values": self.processor(images=images, return_tensors="pt")["pixel_values"]}


class SoundReader(MediaReader):
    """Reads recordings, of which the first half minute."""

    modality = "audio"

    def inputs(self, contents: Sequence[Any]) -> dict[str, Tensor]:
        """What the processor makes of samples: themselves [B, T], or a spectrogram."""
        rate = self.processor.sampling_rate
        waves = [samples(content, rate)[: rate * _MOST_SECONDS].numpy() for content in contents]
        whole = hasattr(self.processor, "n_samples")  # Whisper reads half a minute, however short
        return dict(
            self.processor(
                waves,
                sampling_rate=rate,
                padding="max_length" if whole else True,
                return_tensors="pt",
            )
        )

    def length(self, content: Any) -> int:
        """Samples, where they are in memory."""
        known = isinstance(content, Mapping) and "array" in content
        return len(content["array"]) if known else 1


def load_reader(place: str | Path, modality: Modality, max_length: int = 512) -> Reader:
    """The reader of a checkpoint.

    Args:
        place: folder or name.
        modality: what it reads.
        max_length: tokens of a text at most.

    Raises:
        UserError: the checkpoint does not say how its inputs are prepared.
    """
    if modality == "text":
        tokenizer = load_tokenizer(place)
        return TextReader(tokenizer, min(max_length, tokenizer.model_max_length))
    from transformers import AutoFeatureExtractor, AutoImageProcessor

    image = modality == "image"
    kind: Any = AutoImageProcessor if image else AutoFeatureExtractor
    try:
        with reading(place, "preparation of inputs"):
            # the slow ones need no torchvision
            how: dict[str, Any] = {"use_fast": False} if image else {}
            found = kind.from_pretrained(str(place), trust_remote_code=trusted(), **how)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{place} does not say how its {modality}s are prepared"
            f" ({str(error).splitlines()[0]}): put its preprocessor_config.json beside it"
        ) from error
    return ImageReader(found) if image else SoundReader(found)


def _starts(word_ids: Sequence[int | None]) -> list[int]:
    """Numbers of words, from 1 on, at their first tokens; 0 elsewhere."""
    before = None
    found = []
    for word in word_ids:
        found.append(0 if word is None or word == before else word + 1)
        before = word
    return found
