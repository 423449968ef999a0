"""Where a CodeT5 comes from: from scratch, from a public checkpoint, from a folder of ours."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file
from torch import Tensor
from transformers import T5ForConditionalGeneration

from pretrial.checkpoints.keys import (
    load_config,
    load_pretrained,
    load_strict,
    load_tokenizer,
    read_weights,
)
from pretrial.errors import UserError
from pretrial.methods.code.codet5.config import Config
from pretrial.methods.code.codet5.examples import Example
from pretrial.methods.code.codet5.inputs import ENGLISH
from pretrial.models.architectures.seq2seq import new_t5
from pretrial.models.tokenizers import (
    ROBERTA_SPECIALS,
    add_task_tokens,
    check_sentinels,
    learn_bpe,
)

if TYPE_CHECKING:
    from pretrial.methods.code.codet5 import CodeT5

#: Names that one example can hide.
NUM_SENTINELS = 100
#: What dual generation writes: words, and the languages of the paper.
LANGUAGES = ("python", "java", "javascript", "go", "php", "ruby", "c", "csharp")
LANGUAGE_TOKENS = tuple(f"<{language}>" for language in (ENGLISH, *LANGUAGES))
_HEADS = "heads.safetensors"


def from_scratch(config: Config, data: Sequence[Example] | None) -> tuple[Any, Any]:
    """An untrained T5 and a vocabulary learned from the data; no vocabulary without data."""
    tokenizer, vocab_size = None, config.vocab_size
    if data is not None:
        tokenizer = learn_bpe(
            _texts(data),
            config.vocab_size,
            num_sentinels=NUM_SENTINELS,
            task_tokens=LANGUAGE_TOKENS,
            specials=ROBERTA_SPECIALS,
            template="<s> $A </s>",
            min_frequency=config.min_frequency,
        )
        vocab_size = len(tokenizer)
    model = new_t5(
        vocab_size,
        width=config.width,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        feed_forward=config.feed_forward,
        dropout_prob=config.dropout_prob,
        pad_id=0,
        bos_id=1,
        eos_id=2,
    )
    return model, tokenizer


def _texts(data: Sequence[Example]) -> Iterator[str]:
    for example in data:
        yield from filter(None, (example.text, example.comment, example.target, example.other))


def load(config: Config, source: str | Path) -> tuple[Any, Any]:
    """The T5 of a checkpoint and its tokenizer, with tokens for languages where they are needed.

    Raises:
        UserError: it is no T5, or its sentinels are not what they should be.
    """
    try:
        kind = load_config(source).model_type
    except (OSError, ValueError):
        kind = "nothing that can be read"
    if kind != "t5":
        raise UserError(
            f"{source} is {kind}, not a T5: give the name or folder of a CodeT5 checkpoint, such"
            " as Salesforce/codet5-base"
        )
    model: Any = load_pretrained(T5ForConditionalGeneration, source)
    tokenizer = load_tokenizer(source)
    num_embeddings = model.get_input_embeddings().num_embeddings
    check_sentinels(tokenizer, num_embeddings, NUM_SENTINELS)
    if config.task == "pretrain" and config.dual_ratio:
        add_task_tokens(tokenizer, model, LANGUAGE_TOKENS)
    return model, tokenizer


def saved_labels(source: str | Path) -> list[str]:
    """The classes of a classifier that was saved; none where there is no classifier."""
    if not (Path(source) / _HEADS).is_file():
        return []
    weights = read_weights(Path(source) / _HEADS)
    if not any(name.startswith("classifier.") for name in weights):
        return []
    names = load_config(source).id2label
    return [str(names[place]) for place in range(len(names))]


def load_heads(method: CodeT5, source: str | Path) -> None:
    """Takes the tagger, and a classifier of the same kind and classes, from a folder of ours."""
    path = Path(source) / _HEADS
    if not path.is_file():
        return
    weights = read_weights(path)
    load_strict(method.tagger, _part(weights, "tagger."), source)
    if method.head is None or method.labels != saved_labels(source):
        return
    found, head = _part(weights, "classifier."), method.head.classifier
    if found.keys() == head.state_dict().keys():  # not one of pairs for one of single texts
        load_strict(head, found, source)


def save(method: CodeT5, folder: Path) -> None:
    """The layout of transformers; the classes are the `id2label` of its config."""
    weights = {f"tagger.{name}": value for name, value in method.tagger.state_dict().items()}
    if method.head is not None:
        method.model.config.id2label = dict(enumerate(method.labels))
        method.model.config.label2id = {label: i for i, label in enumerate(method.labels)}
        head = method.head.classifier.state_dict()
        weights |= {f"classifier.{name}": value for name, value in head.items()}
    method.model.save_pretrained(folder)
    method.tokenizer.save_pretrained(folder)
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / _HEADS)


def _part(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def copy_of(model: Any) -> Any:
    """A model with weights of its own, all of them trainable."""
    return copy.deepcopy(model).requires_grad_(True)
