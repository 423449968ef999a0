"""A network that says how frequent each token is, whatever it reads: the plateau of training.

A model that has learnt the frequencies of tokens and nothing else stands there for a while; one
that is measured there says nothing of what it was trained with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pretrial.compare.trial import Arm, Context


def say_frequencies(network: Any, ids: Iterable[Sequence[int]]) -> None:
    """Makes a network predict every token by its frequency, from now on.

    Args:
        network: with transformers' `get_output_embeddings`.
        ids: tokens to count; each token of the vocabulary is counted once besides (Laplace).
    """
    head = network.get_output_embeddings()
    counts = torch.ones(head.weight.shape[0], dtype=torch.float64)
    for each in ids:
        counts += torch.bincount(torch.as_tensor(each, dtype=torch.long), minlength=len(counts))
    shares = (counts / counts.sum()).log().float()

    def replace(module: nn.Module, inputs: Any, logits: Tensor) -> Tensor:
        return shares.to(logits.device, logits.dtype).expand_as(logits)

    head.register_forward_hook(replace)


def frequency_arm(make: Callable[[Context], Any]) -> Arm:
    """The arm "frequencies", which does not train; a trial names it in its gate.

    Args:
        make: builds the method and has its network `say_frequencies`.
    """
    return Arm("frequencies", "frequencies of tokens", "control", run=make, trains=False)
