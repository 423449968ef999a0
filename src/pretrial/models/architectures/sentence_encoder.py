"""Sentence encoders, by name or folder: a base model, its pooling, and unit vectors.

Folders are those of sentence-transformers, whose files say how states are pooled and how many
tokens are read; any other checkpoint of a base model is pooled by the mean.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel
from transformers.utils import cached_file

from pretrial.checkpoints.keys import load_config, load_pretrained, load_tokenizer
from pretrial.checkpoints.packaged import ENCODERS, place_of
from pretrial.checkpoints.t5 import save_network
from pretrial.errors import UserError
from pretrial.train.in_batches import by_length

Pooling = Literal["first", "mean"]
_POOLING_FILE = "1_Pooling/config.json"
_LENGTH_FILE = "sentence_bert_config.json"
_MODULES_FILE = "modules.json"


class SentenceEncoder(nn.Module):
    """A base model whose last states are pooled to one vector of length 1.

    Args:
        network: gives `last_hidden_state`.
        tokenizer: its tokenizer.
        pooling: the state of the first token, or the mean over all.
        max_length: tokens that are read; longer texts are cut.
    """

    def __init__(self, network: Any, tokenizer: Any, pooling: Pooling, max_length: int) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.max_length = max_length

    @property
    def width(self) -> int:
        """Length of a vector."""
        return self.network.config.hidden_size

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Vectors [N, d] of N texts, with gradients, all at once."""
        inputs = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.max_length,
            padding=True,
            return_tensors="pt",
        ).to(self.network.device)
        states = self.network(**inputs).last_hidden_state  # [N, T, d]
        if self.pooling == "first":
            pooled = states[:, 0]
        else:
            weights = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)  # [N, T, 1]
            pooled = (states * weights).sum(1) / weights.sum(1)
        return F.normalize(pooled, dim=-1)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], batch_size: int = 32) -> Tensor:
        """Vectors [N, d] of N texts on the CPU, in batches of texts alike in length.

        The mode of the network is the caller's.
        """
        vectors = torch.zeros(len(texts), self.width)
        for places in by_length(texts, batch_size):
            vectors[places] = self([texts[place] for place in places]).float().cpu()
        return vectors

    def save(self, folder: Path) -> None:
        """Writes what `load_sentence_encoder` reads, which is the layout of sentence-transformers.

        Args:
            folder: is made.
        """
        save_network(self.network, folder)
        self.tokenizer.save_pretrained(folder)
        modes = {"cls_token": self.pooling == "first", "mean_tokens": self.pooling == "mean"}
        pooling = {f"pooling_mode_{name}": on for name, on in modes.items()}
        kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
        modules = [
            {
                "idx": idx,
                "name": str(idx),
                "path": path,
                "type": f"sentence_transformers.models.{kind}",
            }
            for idx, (path, kind) in enumerate(kinds)
        ]
        for name, content in (
            (_MODULES_FILE, modules),
            (_POOLING_FILE, {"word_embedding_dimension": self.width} | pooling),
            (_LENGTH_FILE, {"max_seq_length": self.max_length, "do_lower_case": False}),
        ):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(json.dumps(content, indent=1))
        (folder / "2_Normalize").mkdir(exist_ok=True)


def load_sentence_encoder(source: str | Path = "minilm", max_length: int = 0) -> SentenceEncoder:
    """A sentence encoder in eval mode, its weights frozen.

    Args:
        source: a name in `checkpoints.packaged`, a folder, or the name of a checkpoint.
        max_length: tokens that are read; 0 takes what the checkpoint says, which is also the most.

    Raises:
        UserError: it is not there, its package is not installed, or it pools in another way.
    """
    place, config = _find(source)
    kind: Any = AutoModel._model_mapping[type(config)]
    # the layer above the first token is of no use here, and not every checkpoint has it
    has_pooler = "add_pooling_layer" in inspect.signature(kind).parameters
    options: dict[str, Any] = {"add_pooling_layer": False} if has_pooler else {}
    network = load_pretrained(kind, place, beside="pooler.", **options)
    known = _read(place, _LENGTH_FILE).get("max_seq_length") or config.max_position_embeddings
    encoder = SentenceEncoder(
        network,
        load_tokenizer(place),
        _pooling(_read(place, _POOLING_FILE), source),
        min(max_length or known, known),
    )
    return encoder.eval().requires_grad_(False)


@dataclass(frozen=True)
class SentenceSettings:
    """What the files of sentence-transformers say beside a checkpoint.

    Attributes:
        pooling: the state of the first token, or the mean over all, which is also taken where
            there are no such files.
        max_length: tokens that are read; 0 where it is not said.
        unit_length: whether vectors are brought to length 1.
    """

    pooling: Pooling
    max_length: int
    unit_length: bool


def sentence_settings(source: str | Path) -> SentenceSettings:
    """How a checkpoint makes one vector of a text.

    Raises:
        UserError: it pools in another way.
    """
    place = place_of(source)
    modules = _read(place, _MODULES_FILE) or []
    return SentenceSettings(
        _pooling(_read(place, _POOLING_FILE), source),
        int(_read(place, _LENGTH_FILE).get("max_seq_length") or 0),
        any(str(module.get("type", "")).endswith("Normalize") for module in modules),
    )


def encoder_width(source: str | Path) -> int:
    """Length of the vectors of a sentence encoder, told without loading it.

    Raises:
        UserError: see `load_sentence_encoder`.
    """
    return int(_find(source)[1].hidden_size)


def _find(source: str | Path) -> tuple[str, Any]:
    """Where the checkpoint is, and its config."""
    place = place_of(source)
    try:
        config = load_config(place)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{source} is no sentence encoder that can be read"
            f" ({str(error).strip().splitlines()[0]}): give a folder of one, its name, or one of"
            f" {', '.join(ENCODERS)}"
        ) from error
    if type(config) not in AutoModel._model_mapping or config.is_encoder_decoder:
        raise UserError(f"{source} is a {config.model_type}: name a checkpoint of an encoder")
    return place, config


def _read(source: str, name: str) -> Any:
    """A JSON file of a checkpoint; {} if it has none of that name."""
    path = cached_file(
        source,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return json.loads(Path(path).read_text()) if path else {}


def _pooling(settings: dict[str, Any], source: str | Path) -> Pooling:
    modes = [key.removeprefix("pooling_mode_") for key, on in settings.items() if on is True]
    if modes in ([], ["mean_tokens"]):
        return "mean"
    if modes == ["cls_token"]:
        return "first"
    raise UserError(
        f"{source} pools by {', '.join(modes)}: name one that takes the mean or the first token"
    )
