"""The quality annotator (section 2.3): a linear head on a text's vector; the score of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification

from pretrial.checkpoints.keys import architecture, load_pretrained, load_tokenizer
from pretrial.checkpoints.parts import has_part, load_parts, load_value, save_parts
from pretrial.data.cleaning.byte_grams import byte_grams
from pretrial.errors import UserError
from pretrial.evaluate.auc import roc_auc
from pretrial.models.architectures.sentence_encoder import (
    SentenceEncoder,
    encoder_width,
    load_sentence_encoder,
)
from pretrial.train.stage import Batch, Trainable

Windows = Literal["three", "top"]
Judged = tuple[Any, float]  # a text, or its vector, and what it is to score

_BYTES = "bytes"
_BYTES_WIDTH = 4096
_CHARACTERS = 4  # of a token, about, where there is no tokenizer
_EMBEDDER = "embedder"
_TEXTS_AT_ONCE = 256


@dataclass(frozen=True)
class Settings:
    """What an annotator is.

    Attributes:
        embedder: what gives a text its vector: "minilm", "bytes" (counts of short runs of bytes, no
            network), or the folder or name of a sentence encoder.
        length: tokens of a window.
        windows: which windows of a file are scored: "three" (top, middle and bottom) or "top".
        regress: scores are grades, not probabilities.
        tuned: the embedder is trained too.
        pooled: the embedder is a sequence classifier; a text's vector is what that gives its last
            layer.
    """

    embedder: str = "minilm"
    length: int = 512
    windows: Windows = "three"
    regress: bool = False
    tuned: bool = False
    pooled: bool = False


class Embedder(Protocol):
    """What gives texts their vectors."""

    tokenizer: Any

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors [N, d]."""


class ByteEmbedder:
    """Vectors that count short runs of bytes."""

    tokenizer = None

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors [N, d]."""
        return torch.from_numpy(byte_grams(texts, _BYTES_WIDTH))


class PooledEmbedder(nn.Module):
    """The vectors that a classifier of transformers gives its linear layer."""

    def __init__(self, network: Any, tokenizer: Any, length: int) -> None:
        super().__init__()
        self.network, self.tokenizer, self.length = network, tokenizer, length

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors [N, d]."""
        inputs = self.tokenizer(
            list(texts), truncation=True, max_length=self.length, padding=True, return_tensors="pt"
        ).to(self.network.device)
        return self.network(**inputs).pooler_output.float().cpu()


class Annotator(Trainable):
    """Scores texts: a linear layer on the vector of an embedder, which is frozen by default.

    Examples are pairs of a text, or its vector where the embedder is frozen, and what it is to
    score: 1.0 for good and 0.0 for any other, or a grade.

    Args:
        settings: what it is.
        embedder: the one to tune, where it is not the one that the settings name. A frozen one is
            loaded when it is first asked for.
    """

    def __init__(self, settings: Settings, embedder: SentenceEncoder | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.frozen = nn.ModuleDict()
        self._bytes = ByteEmbedder()
        if settings.tuned and settings.embedder == _BYTES:
            raise UserError("counts of bytes have nothing to tune: name another embedder")
        self.tuned: SentenceEncoder | None = None
        if settings.tuned:
            self.tuned = embedder or load_sentence_encoder(settings.embedder, settings.length)
            self.tuned.requires_grad_(True)
            width = self.tuned.width
        else:
            known = settings.embedder == _BYTES
            width = _BYTES_WIDTH if known else encoder_width(settings.embedder)
        self.head = nn.Linear(width, 1)

    @property
    def embedder(self) -> Any:
        """What gives vectors, loaded the first time."""
        if self.tuned is not None:
            return self.tuned
        if self.settings.embedder == _BYTES:
            return self._bytes
        if "embedder" not in self.frozen:
            load = _pooled_embedder if self.settings.pooled else load_sentence_encoder
            loaded = load(self.settings.embedder, self.settings.length)
            self.frozen["embedder"] = loaded.to(self.head.weight.device)
        return self.frozen["embedder"]

    def batch(self, examples: Sequence[Judged], generator: torch.Generator) -> Batch:
        """Texts or vectors [N, d] and their labels [N]."""
        inputs, labels = zip(*examples, strict=True)
        batch: Batch = {"labels": torch.tensor(labels, dtype=torch.float32)}
        batch |= {"texts": inputs} if isinstance(inputs[0], str) else {"vectors": _stack(inputs)}
        return batch | {"counts": {"examples": float(len(examples))}}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of good against random; the squared error of a grade."""
        vectors = batch["vectors"] if "vectors" in batch else self.embedder(batch["texts"])
        found, labels = self.head(vectors).squeeze(-1), batch["labels"]
        if self.settings.regress:
            loss = F.mse_loss(found, labels, reduction="sum")
        else:
            loss = F.binary_cross_entropy_with_logits(found, labels, reduction="sum")
        return {"loss": loss / batch["counts"]["examples"]}

    def vectors(self, texts: Sequence[str]) -> Tensor:
        """Vectors [N, d] on the CPU."""
        return torch.cat([self.embedder.encode(part) for part in _parts(texts)])

    @torch.no_grad()
    def judge(self, texts: Sequence[str]) -> Tensor:
        """Scores [N] of texts as they are, each cut to one window."""
        device = self.head.weight.device
        found = [
            self.head(self.embedder.encode(part).to(device, self.head.weight.dtype)).squeeze(-1)
            for part in _parts(texts)
        ]
        scores = torch.cat(found).float().cpu()
        return scores if self.settings.regress else scores.sigmoid()

    def score(
        self, texts: Sequence[str], windows: Windows | None = None
    ) -> Iterator[tuple[float, list[float]]]:
        """Each file's score, the mean over its windows (section 2.3), and the scores of these.

        Args:
            texts: of the files.
            windows: to score; None takes those of the settings.
        """
        for part in _parts(texts):
            cut = self.windows(part, windows)
            scores = self.judge([window for each in cut for window in each]).tolist()
            for each in cut:
                own, scores = scores[: len(each)], scores[len(each) :]
                yield sum(own) / len(own), own

    def windows(self, texts: Sequence[str], windows: Windows | None = None) -> list[list[str]]:
        """The windows of each file: its top, middle and bottom, or all of a short one."""
        which, length = windows or self.settings.windows, self.settings.length
        return [file_windows(text, self.embedder.tokenizer, length, which) for text in texts]

    def quality(self, judged: Sequence[Judged]) -> dict[str, float]:
        """The area under the ROC curve, where there are both classes; else the squared error."""
        inputs, labels = zip(*judged, strict=True)
        if isinstance(inputs[0], str):
            found = self.judge(inputs)
        else:
            with torch.no_grad():
                found = self.head(_stack(inputs).to(self.head.weight.device)).squeeze(-1).cpu()
        if self.settings.regress:
            return {"squared_error": float(F.mse_loss(found, torch.tensor(labels)))}
        good = torch.tensor(labels) > 0.5
        return {"roc_auc": roc_auc(found[good].tolist(), found[~good].tolist())}

    def save(self, folder: Path) -> None:
        """Writes settings and head, and the embedder if it was tuned."""
        folder.mkdir(parents=True, exist_ok=True)
        settings = self.settings
        if self.tuned is not None:
            self.tuned.save(folder / _EMBEDDER)
            settings = replace(settings, embedder="")
        save_parts(folder, {"settings": asdict(settings), "head": self.head})


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        yield texts[start : start + _TEXTS_AT_ONCE]


def _stack(vectors: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(vectors))


def load_annotator(source: str | Path, windows: Windows | None = None) -> Annotator:
    """An annotator that was trained before.

    Args:
        source: a folder that `Annotator.save` wrote, or a checkpoint of a sequence classifier with
            one output, such as one that grades texts.
        windows: to score, instead of those that it was made for.

    Raises:
        UserError: neither is there.
    """
    folder = Path(source)
    if has_part(folder, "settings"):
        settings = Settings(**load_value(folder, "settings"))
        embedder = None
        if not settings.embedder:
            embedder = load_sentence_encoder(folder / _EMBEDDER)
        annotator = Annotator(replace(settings, windows=windows or settings.windows), embedder)
        load_parts(folder, {"head": annotator.head})
        return annotator.eval()
    if "SequenceClassification" not in architecture(source):
        raise UserError(
            f"{source} holds no annotator: give a folder that a run has saved one in (its"
            " model/annotator), or a sequence classifier with one output"
        )
    network, layer = _classifier(source)
    length = min(512, network.config.max_position_embeddings)
    settings = Settings(str(source), length, windows or "three", regress=True, pooled=True)
    annotator = Annotator(settings)
    annotator.head.load_state_dict(layer.state_dict())
    return annotator.eval()


def _classifier(source: str | Path) -> tuple[Any, nn.Linear]:
    """The base model of a sequence classifier, and its last layer."""
    network: Any = load_pretrained(AutoModelForSequenceClassification, source)
    layer = getattr(network, "classifier", None)
    if not isinstance(layer, nn.Linear) or layer.out_features != 1:
        raise UserError(f"{source} does not end in one linear layer with one output")
    return network.base_model.requires_grad_(False).eval(), layer


def _pooled_embedder(source: str, length: int) -> PooledEmbedder:
    return PooledEmbedder(_classifier(source)[0], load_tokenizer(source), length)


def file_windows(text: str, tokenizer: Any, length: int, windows: Windows) -> list[str]:
    """The windows of a file: its first, middle and last `length` tokens, or only the first.

    A file that fits into a window is its only one. Only the stretches of text that can hold the
    windows are split into tokens, so a long file costs no more than a short one.

    Args:
        text: of the file.
        tokenizer: a fast one, or None to take a token for four characters.
        length: tokens of a window, with the special tokens that the tokenizer adds.
        windows: which.
    """
    if tokenizer is None:
        room = length * _CHARACTERS
        spans = _spans(len(text), room, windows)
        return [text[start:end] for start, end in spans]
    room = length - tokenizer.num_special_tokens_to_add()
    stretches = _spans(len(text), 2 * length * _CHARACTERS, windows)
    found = []
    for number, (start, end) in enumerate(stretches):
        stretch = text[start:end]
        inputs = tokenizer(stretch, add_special_tokens=False, return_offsets_mapping=True)
        offsets = inputs["offset_mapping"]
        inner = _spans(len(offsets), room, windows)
        if len(stretches) > 1:  # of the top stretch the top window, and so on
            inner = inner[min(number, len(inner) - 1) :][:1]
        found += [stretch[offsets[a][0] : offsets[b - 1][1]] for a, b in inner if b > a]
    return found or [text[:room]]


def _spans(total: int, room: int, windows: Windows) -> list[tuple[int, int]]:
    """First, middle and last `room` of `total`, or the whole where it fits."""
    if total <= room:
        return [(0, total)]
    middle = (total - room) // 2
    spans = [(0, room), (middle, middle + room), (total - room, total)]
    return spans if windows == "three" else spans[:1]
