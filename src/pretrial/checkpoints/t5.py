"""T5's two kinds of output matrix, and checkpoints whose config.json tells which kind it is.

The output matrix of the first T5s is that of the embeddings, and states are multiplied by the root
of 1 / d before they meet it. T5 v1.1, Flan and UL2 have a matrix of its own and no factor. In
config.json `tie_word_embeddings` tells one from the other. transformers 5 writes true in either
case, ties the matrices whenever it can, and keeps the factor under a name of its own, which other
versions and tools do not know: they tie what is not tied, and scale it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pretrial.checkpoints.keys import mark_new

_CONFIG = "config.json"


def is_tied(network: Any) -> bool:
    """Whether the output matrix is that of the embeddings; True where there is no such matrix."""
    output = network.get_output_embeddings()
    return output is None or output.weight is network.get_input_embeddings().weight


def state_scale(network: Any) -> float:
    """What an encoder-decoder multiplies its last states by before they meet the output matrix."""
    config = network.config
    scaled = getattr(config, "scale_decoder_outputs", None)
    if scaled is None:  # T5's other descendants; MT5 never scales
        kinds = ("umt5", "switch_transformers")
        scaled = config.model_type in kinds and config.tie_word_embeddings
    return float(config.hidden_size) ** -0.5 if scaled else 1.0


def untie(network: Any) -> None:
    """Gives a network an output matrix of its own, which starts as a copy of the embeddings."""
    output = network.get_output_embeddings()
    output.weight = nn.Parameter(output.weight.detach().clone())


def resize_embeddings(network: Any, num_tokens: int) -> None:
    """Makes room for further tokens; an output matrix that is not tied stays so.

    Args:
        network: of transformers.
        num_tokens: entries of the vocabulary, more than there are.
    """
    tied, num_known = is_tied(network), network.get_input_embeddings().num_embeddings
    with _said_to_be_tied(network.config, tied):
        network.resize_token_embeddings(num_tokens, mean_resizing=False)
    grown = {network.get_input_embeddings(), network.get_output_embeddings()}
    names = [name for name, module in network.named_modules() if module in grown]
    mark_new(network, [f"{name}.weight" for name in names])
    if not tied and _tells_by_tying(network.config):
        # transformers draws the new rows as if states were scaled
        weight = network.get_output_embeddings().weight.data
        weight[num_known:].normal_(std=float(weight[:num_known].std()))


@contextmanager
def _said_to_be_tied(config: Any, tied: bool) -> Iterator[None]:
    """Inside the block the config does not have matrices tied that are not."""
    before = config.tie_word_embeddings
    config.tie_word_embeddings = before and tied
    try:
        yield
    finally:
        config.tie_word_embeddings = before


def save_network(network: Any, folder: Path) -> None:
    """`network.save_pretrained(folder)`; what config.json says of a T5's output matrix is true.

    Every version of transformers then computes what this network does. For that a matrix that is
    both tied and not scaled is written as one of its own, and the factor of one that is scaled and
    not tied goes into its weights.

    Args:
        network: of transformers, of any kind.
        folder: is made.
    """
    if not _tells_by_tying(network.config):
        network.save_pretrained(folder)
        return
    tied, scale = is_tied(network), state_scale(network)
    if network.get_output_embeddings() is None:
        tied = scale != 1.0  # nothing to be tied: as in the network that it is a part of
    agrees = tied == (scale != 1.0)
    state = None if agrees else _with_own_matrix(network, scale)
    network.save_pretrained(folder, state_dict=state)
    values = json.loads(network.config.to_json_string())
    values["tie_word_embeddings"] = tied and agrees
    if "scale_decoder_outputs" in values:
        values["scale_decoder_outputs"] = tied and agrees
    text = json.dumps(values, indent=2, sort_keys=True) + "\n"
    (folder / _CONFIG).write_text(text, encoding="utf-8")


def _tells_by_tying(config: Any) -> bool:
    """Whether `tie_word_embeddings` says of such a network whether its states are scaled."""
    return hasattr(config, "scale_decoder_outputs") or config.model_type == "mt5"


def _with_own_matrix(network: Any, scale: float) -> dict[str, Tensor]:
    """All weights, with an output matrix that has taken the factor in."""
    [name] = [
        name
        for name, module in network.named_modules()
        if module is network.get_output_embeddings()
    ]
    weight = network.get_output_embeddings().weight.detach()
    scaled = weight * torch.tensor(scale, dtype=weight.dtype, device=weight.device)
    state: dict[str, Tensor] = network.state_dict()
    return {**state, f"{name}.weight": scaled.clone()}
