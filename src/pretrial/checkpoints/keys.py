"""Weights from elsewhere: every key and shape must fit, or the error says which does not.

transformers only warns of weights that are missing and fills them at random. A model that was
silently filled so trains, and answers nothing; here it stops at once. Code that comes with a
checkpoint is not run (see `guard`), and pickled weights are read as tensors only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pretrial.checkpoints.guard import check_folder, reading, trusted
from pretrial.checkpoints.packaged import place_of
from pretrial.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KeyMap = Sequence[tuple[str, str]]
# Attribute of a network that was read from a checkpoint: the names of the weights that were there.
LOADED = "loaded_weights"
_SHOWN = 3


def load_pretrained(
    model_class: Any,
    source: str | Path,
    *,
    beside: str | tuple[str, ...] = "",
    new_head: bool = False,
    fresh: tuple[str, ...] = (),
    **options: Any,
) -> PreTrainedModel:
    """`model_class.from_pretrained(source)`, with every weight accounted for.

    Weights become fp32 whatever the file holds: in half precision most steps of training are too
    small to change them. `stored_dtype` tells what they were.

    Args:
        model_class: a model class of transformers, or an Auto class.
        source: name or folder of a checkpoint.
        beside: beginnings of the names of weights that it may hold besides the model's.
        new_head: it may lack the weights outside the base model, and hold those of another head;
            what it lacks is randomly initialised.
        fresh: beginnings of the names of weights that it may lack, which are then randomly
            initialised.
        **options: handed on, such as `dtype`.

    Raises:
        UserError: there is no such checkpoint, or it is of another architecture.
    """
    check_folder(source)
    options.setdefault("dtype", torch.float32)
    with reading(source):
        try:
            model, report = model_class.from_pretrained(
                str(source),
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                trust_remote_code=trusted(),
                **options,
            )
        except ValueError as error:
            if "configuration class" not in str(error):
                raise
            raise UserError(_misfit(source, model_class.__name__, [])) from error
    shapes = {key: (tuple(theirs), tuple(ours)) for key, theirs, ours in report["mismatched_keys"]}
    missing, unexpected = report["missing_keys"], report["unexpected_keys"]
    unexpected = [key for key in unexpected if not (beside and key.startswith(beside))]
    missing = [key for key in missing if not (fresh and key.startswith(fresh))]
    if new_head:
        base = f"{model.base_model_prefix}."
        missing = [key for key in missing if key.startswith(base)]
        unexpected = [key for key in unexpected if key.startswith(base)]
    differences = _differences(missing, unexpected, shapes)
    if differences:
        raise UserError(_misfit(source, model_class.__name__, differences))
    mark_loaded(model, report["missing_keys"])
    return model


def mark_loaded(model: Any, missing: Iterable[str] = ()) -> None:
    """Notes at a network which of its weights a checkpoint held.

    Args:
        model: the network.
        missing: names of weights that it did not hold.
    """
    # tied weights have several names
    there = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    setattr(model, LOADED, frozenset(there.difference(missing)))


def mark_new(model: Any, names: Iterable[str]) -> None:
    """Notes at a network that these weights are no longer those that a checkpoint held."""
    if hasattr(model, LOADED):
        setattr(model, LOADED, getattr(model, LOADED).difference(names))


def load_tokenizer(source: str | Path) -> Any:
    """The tokenizer of a checkpoint.

    Raises:
        UserError: there is none at `source`, or it has more tokens than the network beside it.
    """
    from transformers import AutoTokenizer

    with reading(source, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(str(source), trust_remote_code=trusted())
    num_tokens = 1 + max(tokenizer.get_vocab().values(), default=-1)
    num_known = _vocabulary_size(source)
    if num_known is not None and num_tokens > num_known:
        raise UserError(
            f"the tokenizer of {source} has {num_tokens} tokens, of which its network knows"
            f" {num_known}: give the checkpoint with its own tokenizer"
        )
    return tokenizer


def _vocabulary_size(source: str | Path) -> int | None:
    """Tokens that the network of a checkpoint knows; None where its config does not say so."""
    try:
        return getattr(load_config(source).get_text_config(), "vocab_size", None)
    except (OSError, ValueError):  # a tokenizer may stand alone
        return None


def load_config(source: str | Path) -> Any:
    """The config of a checkpoint.

    Raises:
        UserError: there is none at `source`, or it asks for code to be run.
    """
    from transformers import AutoConfig

    with reading(source):
        return AutoConfig.from_pretrained(str(source), trust_remote_code=trusted())


def stored_dtype(source: str | Path) -> str:
    """The type that a checkpoint's config says of its weights, such as "bfloat16"; "" if none."""
    try:
        found = getattr(load_config(place_of(source)), "dtype", None)
    except (OSError, ValueError):  # other layouts than that of transformers do not say it
        return ""
    return "" if found is None else str(found).removeprefix("torch.")


def load_strict(
    module: nn.Module, state: Mapping[str, Tensor], source: str | Path, keys: KeyMap = ()
) -> None:
    """Loads weights into a module; none may be missing, left over or of another shape.

    Args:
        module: takes the weights.
        state: the weights, by their names in the checkpoint.
        source: where they are from, for the error.
        keys: pairs (regular expression, replacement), applied in order to each name. A name that
            becomes empty is left out.

    Raises:
        UserError: a key or a shape differs; it names the first.
        ValueError: two names become one.
    """
    others = sorted(str(key) for key, value in state.items() if not isinstance(value, Tensor))
    if others:
        raise UserError(
            f"{source} holds more than weights ({', '.join(others[:_SHOWN])}): save the state_dict"
            " of the model alone"
        )
    renamed = rename(state, keys)
    own = module.state_dict()
    shapes = {
        key: (tuple(renamed[key].shape), tuple(own[key].shape))
        for key in own.keys() & renamed.keys()
        if renamed[key].shape != own[key].shape
    }
    differences = _differences(own.keys() - renamed.keys(), renamed.keys() - own.keys(), shapes)
    if differences:
        raise UserError(_misfit(source, type(module).__name__, differences))
    module.load_state_dict(renamed)


def rename(state: Mapping[str, Tensor], keys: KeyMap) -> dict[str, Tensor]:
    """Applies a key map; see `load_strict`."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        new = key
        for pattern, replacement in keys:
            new = re.sub(pattern, replacement, new)
        if new in renamed:
            raise ValueError(f"the key map turns two names into {new!r}")
        if new:
            renamed[new] = value
    return renamed


def read_weights(source: str | Path) -> dict[str, Tensor]:
    """Weights of a file, or of a folder in the layout of the Hub, by name.

    safetensors are taken where there are both; pickles are read with `weights_only=True`, which
    runs no code.

    Raises:
        UserError: there are none, or a pickle holds more than tensors.
    """
    path = Path(source)
    if not path.is_dir():
        return _read_file(path)
    for suffix in (".safetensors", ".bin", ".pt"):
        files = sorted(path.glob(f"*{suffix}"))
        if files:
            return {key: value for file in files for key, value in _read_file(file).items()}
    raise UserError(f"{path} holds no weights: no .safetensors, .bin or .pt file")


def architecture(source: str | Path) -> str:
    """What the config.json of a folder, or of a cached name, says it is; "" if it has none."""
    from transformers import PreTrainedConfig

    try:
        config, _ = PreTrainedConfig.get_config_dict(str(source))
        names = config.get("architectures") or []
        return ", ".join(map(str, names)) or str(config.get("model_type", ""))
    except Exception:  # it is asked for by errors, whatever is wrong with the checkpoint
        return ""


def _read_file(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    with reading(path, "weights"):
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise UserError(f"{path} holds no weights by name: save the state_dict of a model")
    return state


def _differences(
    missing: Iterable[str],
    unexpected: Iterable[str],
    shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
) -> list[str]:
    """The first few of each kind; shapes are (the checkpoint's, the model's)."""
    found = []
    for kind, names in (("lacks", sorted(missing)), ("has besides", sorted(unexpected))):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            found.append(f"it {kind} {', '.join(names[:_SHOWN])}{more}")
    for key, (theirs, ours) in sorted(shapes.items())[:_SHOWN]:
        found.append(f"{key} is {list(theirs)} there and {list(ours)} here")
    return found


def _misfit(source: str | Path, name: str, differences: list[str]) -> str:
    told = architecture(source)
    says = f" (its config.json says {told})" if told else ""
    return f"the checkpoint {source}{says} does not fit {name}" + "".join(
        f"; {difference}" for difference in differences
    )
