"""The critics: which outcome does a program deserve, judged from every one of its prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pretrial.checkpoints.keys import load_strict
from pretrial.checkpoints.t5 import is_tied, save_network
from pretrial.methods.code.coderl.network.model import ProgramModel
from pretrial.train.device import to_device
from pretrial.train.in_batches import each_by_length
from pretrial.train.stage import Batch, Trainable

HEAD = "error_head."


@dataclass(frozen=True)
class Judged:
    """A program to judge: prompt and program tokens, and the class it should get."""

    source: list[int]
    target: list[int]
    label: int = 0


class Critic(Trainable):
    """Predicts the outcome class of a program.

    A language model smaller than the actor reads the problem and the program; a two-layer head
    gives class logits at every position, and their maximum over the program's positions is the
    prediction. The binary critic is the same with two classes, failed and passed.

    Args:
        program_model: its language model. Of its settings, `pooling` says what the maximum is taken
            over, and `release_pooling` lets padding into it, a fault of the released code, which
            pads every program to `max_target` tokens.
        num_classes: 4 (outcomes) or 2 (failed, passed).
    """

    def __init__(self, program_model: ProgramModel, num_classes: int) -> None:
        super().__init__()
        self.program_model = program_model
        network = program_model.network
        self.error_head = nn.Sequential(
            nn.Linear(program_model.width, 128), nn.ReLU(), nn.Linear(128, num_classes)
        ).to(network.dtype)
        if not is_tied(network):
            network.get_output_embeddings().weight.requires_grad_(False)  # a critic writes nothing

    def batch(self, examples: Sequence[Judged], generator: torch.Generator) -> Batch:
        config = self.program_model.config
        batch = self.program_model.collate(
            [e.source for e in examples],
            [e.target for e in examples],
            config.max_target if config.release_pooling else 0,
        )
        batch["classes"] = torch.tensor([e.label for e in examples])  # [B]
        return batch

    def position_logits(self, batch: Batch) -> Tensor:
        """Class logits [B, T, C]; those of position t have seen w_1 .. w_{t-1} only."""
        return self.error_head(self.program_model.hidden(batch)).float()

    def pooled_logits(self, batch: Batch) -> Tensor:
        """Class logits [B, C] of whole programs."""
        config = self.program_model.config
        padding = ~batch["loss_mask"].unsqueeze(-1)  # [B, T, 1]; True: not in the program
        if config.release_pooling:
            padding = torch.zeros_like(padding)
        if config.pooling == "states":  # as in the paper; the release pools logits
            states = self.program_model.hidden(batch).masked_fill(padding, -torch.inf)
            return self.error_head(states.amax(dim=1)).float()
        return self.position_logits(batch).masked_fill(padding, -torch.inf).amax(dim=1)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        logits, classes = self.pooled_logits(batch), batch["classes"]
        count = batch["counts"]["examples"]
        right = (logits.argmax(-1) == classes).float().sum() / count
        loss = F.cross_entropy(logits, classes, reduction="sum") / count
        return {"loss": loss, "accuracy": right.detach()}

    def token_scores(self, programs: Sequence[Judged], batch_size: int = 64) -> list[Tensor]:
        """softmax(position logits)[label] of each program: a tensor [T] per program.

        With `label` the true outcome these are q(w_t), the weights of the policy gradient; with the
        binary critic and `label=1`, entry i is p(passed | first i tokens).
        """
        return self._over(programs, batch_size, pooled=False)

    def program_scores(self, programs: Sequence[Judged], batch_size: int = 64) -> list[float]:
        """softmax(pooled logits)[label] of each program."""
        return [float(score) for score in self._over(programs, batch_size, pooled=True)]

    def _over(self, programs: Sequence[Judged], batch_size: int, pooled: bool) -> list[Tensor]:
        """Scores of `programs` in their order; batches hold programs of like length."""
        device = next(self.parameters()).device

        def compute(own: list[Judged]) -> list[Tensor]:
            batch = to_device(self.batch(own, torch.Generator()), device)
            logits = self.pooled_logits(batch) if pooled else self.position_logits(batch)
            found = []
            for judged, row, mask in zip(own, logits, batch["loss_mask"], strict=True):
                scores = row.softmax(-1)[..., judged.label].cpu()
                found.append(scores if pooled else scores[mask.cpu()])
            return found

        return each_by_length(
            self, programs, compute, lambda p: len(p.source) + len(p.target), batch_size
        )

    # The layout of the released critics: the model's own keys, and those of the head beside them

    def save(self, folder: Path) -> None:
        """Writes a transformers folder whose weights also hold `error_head.{0,2}.*`."""
        save_network(self.program_model.network, folder)
        weights = load_file(folder / "model.safetensors")
        head = {HEAD + name: value for name, value in self.error_head.state_dict().items()}
        save_file(weights | head, folder / "model.safetensors", metadata={"format": "pt"})

    def load_head(self, weights: dict[str, Tensor]) -> None:
        """Takes the head from the weights of a saved or released critic."""
        head = {k.removeprefix(HEAD): v for k, v in weights.items() if k.startswith(HEAD)}
        load_strict(self.error_head, head, "the critic's error_head")
