"""The vectors of past batches, first in first out: negatives for contrastive losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class KeyQueue(nn.Module):
    """A ring of vectors, and of the token ids that they were computed from where those are wanted.

    Losses call `hold` with the vectors of all processes, and the method's `after_step` calls
    `push`: so the queue changes once a step, is the same in every process, and a resumed run finds
    it as it was, since it is made of buffers.

    Args:
        size: vectors kept.
        width: of a vector.
        num_ids: token ids kept beside each vector; 0 keeps none.
        pad_id: what an empty or short row of ids holds.

    Attributes:
        keys: the vectors [size, width], zeros where there is none yet.
        ids: their token ids [size, num_ids].
        num_pushed: how many vectors were ever pushed.
    """

    keys: Tensor
    ids: Tensor
    num_pushed: Tensor

    def __init__(self, size: int, width: int, num_ids: int = 0, pad_id: int = 0) -> None:
        super().__init__()
        self.pad_id = pad_id
        self.register_buffer("keys", torch.zeros(size, width))
        self.register_buffer("ids", torch.full((size, num_ids), pad_id, dtype=torch.int32))
        self.register_buffer("num_pushed", torch.zeros((), dtype=torch.int64))
        self._held: tuple[Tensor, Tensor | None] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def is_filled(self) -> Tensor:
        """True at the places that hold a vector [size]."""
        return torch.arange(len(self), device=self.keys.device) < self.num_pushed

    def hold(self, keys: Tensor, ids: Tensor | None = None) -> None:
        """Notes what the next `push` puts in, in training mode; otherwise does nothing.

        Args:
            keys: vectors [N, width] of all processes, see `objectives.contrastive.gathered`.
            ids: their token ids [N, any length]; longer rows are cut.
        """
        if self.training:
            self._held = (keys.detach(), ids)

    @torch.no_grad()
    def push(self) -> None:
        """Puts the vectors held last into the places of the oldest; without any it does nothing."""
        if self._held is None:
            return
        (keys, ids), self._held = self._held, None
        first = max(len(keys) - len(self), 0)  # of a batch larger than the queue the end stays
        offsets = torch.arange(first, len(keys), device=self.keys.device)
        places = (self.num_pushed + offsets) % len(self)
        self.keys[places] = keys[first:].to(self.keys.dtype)
        if ids is not None:
            width = min(ids.shape[1], self.ids.shape[1])
            self.ids[places] = self.pad_id
            self.ids[places, :width] = ids[first:, :width].to(torch.int32)
        self.num_pushed += len(keys)
