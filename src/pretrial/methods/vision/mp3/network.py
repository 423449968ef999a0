"""What MP3 adds to the encoder of patches: attention to a context, and targets that are places."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pretrial.models.architectures.patch_encoder import PatchEncoder, block


def context_states(
    encoder: PatchEncoder, tokens: Tensor, context: Tensor | Sequence[Tensor] | None = None
) -> Tensor:
    """The normed states [B, n, d] after all blocks, in which only some tokens are attended to.

    Args:
        encoder: of patches.
        tokens: [B, n, d].
        context: places of the tokens that give keys and values, [B, m]: one choice for all layers,
            or one for each. None lets every token give them.
    """
    if context is None:
        return encoder.states(tokens)
    contexts = [context] * len(encoder.layers) if isinstance(context, Tensor) else context
    for layer, places in zip(encoder.layers, contexts, strict=True):
        # all n tokens ask, m answer: n * m scores, not n * n
        tokens = block(layer, tokens, select=_at(places))
    return encoder.layernorm(tokens)


def _at(places: Tensor) -> Callable[[Tensor], Tensor]:
    """Takes from states [B, n, d] those at some places [B, m]."""
    return lambda states: states.gather(1, places[:, :, None].expand(-1, -1, states.shape[2]))


def position_loss(logits: Tensor, count: float, targets: Tensor | None = None) -> Tensor:
    """Cross-entropy of tokens against their own places, summed and divided by `count`.

    Args:
        logits: of the places, for every token in the order of the places [B, n, n].
        count: tokens.
        targets: probabilities of the places for each token [n, n]; None wants its own place alone.
    """
    batch_size, num = logits.shape[:2]
    flat = logits.flatten(0, 1)
    if targets is None:
        labels = torch.arange(num, device=logits.device).repeat(batch_size)
    else:
        labels = targets.repeat(batch_size, 1)
    return cross_entropy(flat, labels, reduction="sum") / count


def near_targets(grid: tuple[int, int], deviation: Tensor) -> Tensor:
    """Probabilities [n, n] that fall off with the distance from a place in a grid.

    Args:
        grid: height and width in places.
        deviation: standard deviation in places [], above 0.
    """
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    places = torch.stack((rows.flatten(), columns.flatten()), 1).to(deviation)
    squares = (places[:, None] - places[None]).square().sum(-1)
    return torch.softmax(-squares / (2 * deviation**2), dim=-1)
