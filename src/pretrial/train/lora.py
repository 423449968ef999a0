"""LoRA (arXiv 2106.09685): a checkpoint stays as it is, and small matrices beside its own learn.

A linear layer W of a network that was read from a checkpoint becomes W + alpha / rank * B A, of
which A and B alone are trained; peft makes these layers. What the checkpoint did not hold, such as
a new head, is trained whole, and so are networks that a method makes of its own.

Nothing else has to know of it. Checkpoints of a run leave out what stays as it is. A network's
`state_dict()` gives merged weights under the names that they had before, so that whatever is made
of it, a copy of its lower half or a folder, has learned what it has; `state_dict(keep_vars=True)`
gives the parameters themselves.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pretrial.checkpoints.keys import LOADED
from pretrial.errors import UserError, nearest, require_packages
from pretrial.train.checkpoint import BASE, frozen_prefixes

_ADAPTER = "default"  # peft's own name where there is one adapter


@dataclass(frozen=True)
class LoraOptions:
    """Low-rank matrices beside those of a checkpoint, which stays as it is.

    Attributes:
        lora_rank: of the matrices that are trained in place of the checkpoint's (LoRA); 0 trains
            the checkpoint whole.
        lora_alpha: what they add is multiplied by alpha / rank; 0 is twice the rank.
        lora_targets: layers that get them, by the end of their names, such as q_proj; without any
            all linear layers but the output matrix.
        lora_dropout: on what these matrices read.
    """

    lora_rank: int = 0
    lora_alpha: int = 0
    lora_targets: tuple[str, ...] = ()
    lora_dropout: float = 0.0

    def check(self, init: str) -> None:
        """Refuses what does not make sense.

        Args:
            init: the checkpoint that the run starts from, "" without one.

        Raises:
            UserError: a value is out of range, there is nothing that could stay as it is, or peft
                is not installed.
        """
        if not self.lora_rank and self != NO_LORA:
            raise UserError("--lora-alpha, --lora-targets and --lora-dropout need a --lora-rank")
        if self.lora_rank < 0 or self.lora_alpha < 0 or not 0 <= self.lora_dropout < 1:
            raise UserError(
                "--lora-rank and --lora-alpha must be above 0, and --lora-dropout from 0 to below 1"
            )
        if self.lora_rank and not init:
            raise UserError(
                "LoRA leaves a checkpoint as it is and trains beside it: name one with --init, or"
                " leave out --lora-rank"
            )
        if self.lora_rank:
            require_packages("peft")


NO_LORA = LoraOptions()


def adapt(module: nn.Module, options: LoraOptions) -> list[nn.Module]:
    """Gives adapters to the networks of a module that were read from a checkpoint.

    Networks that have some already, that are frozen, or that a method made itself stay as they are.

    Returns:
        The networks that have adapters now.

    Raises:
        UserError: no layer is called so, or the rank is above every one of them.
    """
    found = list(_loaded(module))
    for network in found:
        if not hasattr(network, BASE):
            _inject(network, options)
    return found


def adapt_method(method: nn.Module, options: LoraOptions) -> None:
    """`adapt` for a method that was built from a checkpoint.

    Raises:
        UserError: as `adapt`; or it keeps no network of a checkpoint.
    """
    if not adapt(method, options):
        raise UserError(
            f"{type(method).__name__} makes a network of its own out of a checkpoint's weights,"
            " which LoRA does not reach: leave out --lora-rank"
        )


def merge(module: nn.Module) -> None:
    """Adds what adapters have learned to the weights, and takes them away."""
    for network in _adapted(module):
        for name, layer in _layers(network):
            base = layer.get_base_layer()
            base.weight.data += layer.get_delta_weight(_ADAPTER)
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, base)
        delattr(network, BASE)
        del network.peft_config


def adapter_of(network: Any) -> dict[str, Tensor]:
    """The weights of a network's adapter under the names that `PeftModel` gives them.

    New weights that were trained whole are among them.

    Raises:
        UserError: peft's layout has no place for a weight that was trained.
    """
    from peft import get_peft_model_state_dict

    own = dict(network.state_dict(keep_vars=True))
    found = get_peft_model_state_dict(network, state_dict=own, save_embedding_layers=False)
    whole = _whole_modules(network)
    found |= {n: p for n, p in own.items() if n.rpartition(".")[0] in whole}
    return {f"base_model.model.{name}": w.detach().cpu() for name, w in found.items()}


def save_adapter(network: Any, folder: Path, source: str) -> None:
    """Writes a network's adapter as peft does, for `PeftModel.from_pretrained`.

    Args:
        network: which has one.
        folder: must be there.
        source: the checkpoint that it belongs to.

    Raises:
        UserError: see `adapter_of`.
    """
    from safetensors.torch import save_file

    config = network.peft_config[_ADAPTER]
    config.base_model_name_or_path = str(source)
    config.modules_to_save = sorted(_whole_modules(network)) or None
    config.inference_mode = True
    weights = {name: weight.contiguous() for name, weight in adapter_of(network).items()}
    save_file(weights, folder / "adapter_model.safetensors", {"format": "pt"})
    config.save_pretrained(str(folder))


def adapted_export(method: Any) -> Any:
    """The network that a method exports, where that is one with an adapter; else None."""
    network = method.export()
    return network if hasattr(network, BASE) else None


def _loaded(module: nn.Module) -> Iterator[nn.Module]:
    """Networks that were read from a checkpoint and are not frozen, outermost first."""
    skipped = frozen_prefixes(module)
    for name, part in module.named_modules():
        if hasattr(part, LOADED) and not f"{name}.".startswith(skipped):
            yield part


def _adapted(module: nn.Module) -> list[Any]:
    """Networks with adapters, frozen copies included."""
    return [part for part in module.modules() if hasattr(part, BASE)]


def _layers(network: nn.Module) -> list[tuple[str, Any]]:
    """The layers with an adapter, by name."""
    from peft.tuners.lora import LoraLayer

    named = network.named_modules()
    return [(name, module) for name, module in named if isinstance(module, LoraLayer)]


def _inject(network: Any, options: LoraOptions) -> None:
    """Puts adapters into a network; all that was loaded stays as it is."""
    from peft import LoraConfig, inject_adapter_in_model

    rank, alpha = options.lora_rank, options.lora_alpha or 2 * options.lora_rank
    targets = _targets(network, options)
    widths = {name: min(network.get_submodule(name).weight.shape) for name in targets}
    if rank > max(widths.values()):
        raise UserError(
            f"--lora-rank {rank} is above the width of every layer that it is for, where it saves"
            f" nothing: give less than {max(widths.values())}, or leave it out"
        )
    lower = {name: width for name, width in widths.items() if width < rank}
    base = [p for name, p in network.named_parameters() if name in getattr(network, LOADED)]
    new = [p for name, p in network.named_parameters() if name not in getattr(network, LOADED)]
    trained = [p for p in new if p.requires_grad]
    shared = {layer for _, layer in _layers(network)}  # with a network that has adapters already
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=options.lora_dropout,
        target_modules=_short(network, targets),
        rank_pattern=lower,
        alpha_pattern={name: alpha * width / rank for name, width in lower.items()},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft turns GPT-2's layers round by itself, and says so
        inject_adapter_in_model(config, network)
    for parameter in trained:
        parameter.requires_grad_(True)
    kept = {id(parameter) for parameter in base}
    names = {n for n, p in network.named_parameters(remove_duplicate=False) if id(p) in kept}
    setattr(network, BASE, frozenset(names))
    for layer in {layer for _, layer in _layers(network)} - shared:
        layer.register_state_dict_post_hook(_merged)
        layer.register_load_state_dict_pre_hook(_only_unmerged)


def _targets(network: nn.Module, options: LoraOptions) -> list[str]:
    """Names of the layers that get adapters.

    Raises:
        UserError: none is called so.
    """
    from transformers.pytorch_utils import Conv1D

    output = getattr(network, "get_output_embeddings", lambda: None)()
    # an output matrix may be that of the embeddings, which an adapter would change too
    embedded = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    inside = tuple(f"{name}." for name, _ in _layers(network))  # of a network that shares a part
    linear = {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear | Conv1D)
        and layer is not output
        and id(layer.weight) not in embedded
        and f"{name}.weight" in getattr(network, LOADED)
        and layer.weight.requires_grad
        and not (inside and name.startswith(inside))
    }
    if not options.lora_targets:
        return list(linear)
    found: dict[str, None] = {}
    for target in options.lora_targets:
        own = [name for name in linear if name == target or name.endswith(f".{target}")]
        if not own:
            ends = {name.rpartition(".")[2] for name in linear}
            raise UserError(
                f"--lora-targets {target}: no linear layer of {type(network).__name__} is called"
                f" so; the nearest: {nearest(target, ends)}"
            )
        found |= dict.fromkeys(own)
    return list(found)


def _short(network: nn.Module, targets: Iterable[str]) -> list[str] | str:
    """The targets by the ends of their names, where these mean no other module."""
    wanted = set(targets)
    ends = {name.rpartition(".")[2] for name in wanted}
    meant = {name for name, _ in network.named_modules() if name.rpartition(".")[2] in ends}
    if meant == wanted:
        return sorted(ends)
    return f"(?:{'|'.join(re.escape(name) for name in sorted(wanted))})"


def _whole_modules(network: Any) -> set[str]:
    """Modules whose weights are new and were trained whole.

    Raises:
        UserError: one is a vocabulary that has grown, or holds other modules that are not new; or
            the network has grown.
    """
    fixed = getattr(network, BASE)
    added = {f"{name}.base_layer.weight" for name, _ in _layers(network)}.difference(fixed)
    if added:
        raise UserError(
            "the network has other layers than its checkpoint, which an adapter alone would not"
            f" fit ({min(added).removesuffix('.base_layer.weight')}): export without --adapter"
        )
    found: set[str] = set()
    for name, parameter in network.named_parameters():
        if name in fixed or ".lora_" in name or not parameter.requires_grad:
            continue
        place = name.rpartition(".")[0]
        module = network.get_submodule(place)
        if isinstance(module, nn.Embedding) or any(module.children()):
            raise UserError(
                f"{name} is not the checkpoint's and was trained whole, which an adapter has no"
                " place for: export without --adapter"
            )
        found.add(place)
    return found


def _merged(layer: Any, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Makes the entries of an adapted layer those of the layer that it is merged into."""
    base = {
        name: state[f"{prefix}base_layer.{name}"]
        for name, _ in layer.get_base_layer().named_parameters()
    }
    if isinstance(base["weight"], nn.Parameter):
        return  # asked for with keep_vars, the parameters themselves are given
    for name in [name for name in state if name.startswith(prefix)]:
        del state[name]
    with torch.no_grad():
        base["weight"] = base["weight"] + layer.get_delta_weight(_ADAPTER)
    state |= {f"{prefix}{name}": value for name, value in base.items()}


def _only_unmerged(layer: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Refuses weights for a layer whose own must stay as they are."""
    if f"{prefix}weight" in state:
        raise UserError(
            "this setting of the method copies weights into a network that LoRA leaves as it is:"
            " leave out --lora-rank, or choose another setting"
        )
