"""The last phase: cross-entropy on references and a policy gradient on sampled programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pretrial.methods.code.coderl.model import IGNORE, ProgramModel
from pretrial.objectives.reinforce import policy_gradient_loss
from pretrial.train.stage import Batch, Trainable


@dataclass(frozen=True)
class Weighted:
    """A sampled program and the weight of each of its tokens in the policy gradient.

    With the weights (r(W) - r(W_b)) * q(w_t) this is CodeRL; with all weights 1 it is plain
    imitation, of a reference or of the model's own passing programs (the controls of the trial).
    """

    source: list[int]
    target: list[int]
    weights: list[float]


class Reinforce(Trainable):
    """L = ce_weight * L_ce + rl_weight * L_rl (mechanisms 8 and 9).

    Each example brings a sampled program, and with it one reference pair drawn at random, so that
    every micro-batch on every process holds both halves in equal number, whatever the accumulation.

    Args:
        actor: what is trained.
        pairs: the references, as (prompt ids, program ids); may be empty.
        reduction: "tokens" divides the policy gradient by the tokens of the step, as released;
            "programs" by its programs, as in the paper's equation.
        rl_head: a copy of the output matrix that serves the policy gradient only, as released.
    """

    def __init__(
        self,
        actor: ProgramModel,
        pairs: Sequence[tuple[list[int], list[int]]],
        *,
        ce_weight: float = 1.0,
        rl_weight: float = 1.0,
        reduction: str = "tokens",
        negative_floor: float | None = None,
        rl_head: bool = False,
    ) -> None:
        super().__init__()
        self.actor = actor
        self.pairs = pairs if ce_weight else ()
        self.ce_weight = ce_weight
        self.rl_weight = rl_weight
        self.reduction = reduction
        self.negative_floor = negative_floor
        self.rl_head: nn.Linear | None = None
        if rl_head:
            output = actor.model.get_output_embeddings()
            self.rl_head = nn.Linear(output.in_features, output.out_features, bias=False)
            self.rl_head.weight = nn.Parameter(output.weight.detach().clone())

    def batch(self, examples: Sequence[Weighted], generator: torch.Generator) -> Batch:
        sampled = self.actor.collate([e.source for e in examples], [e.target for e in examples])
        weights = torch.zeros(sampled["labels"].shape)  # [B, T]
        for row, example in enumerate(examples):
            weights[row][sampled["labels"][row] != IGNORE] = torch.tensor(example.weights)
        counts = sampled.pop("counts")
        batch: Batch = {f"rl_{name}": value for name, value in sampled.items()}
        batch["rl_weights"] = weights
        batch["counts"] = {
            "examples": counts["examples"],
            "tokens": counts["tokens"],
            "rl_tokens": counts["tokens"],
            "ce_tokens": 0.0,
        }
        if len(self.pairs):
            drawn = torch.randint(len(self.pairs), (len(examples),), generator=generator)
            sources, targets = zip(*(self.pairs[int(i)] for i in drawn), strict=True)
            reference = self.actor.collate(sources, targets)
            counts = reference.pop("counts")
            batch |= {f"ce_{name}": value for name, value in reference.items()}
            batch["counts"]["ce_tokens"] = counts["tokens"]
            batch["counts"]["tokens"] += counts["tokens"]
        return batch

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        counts = batch["counts"]
        log_probs = self._rl_log_probs(_part(batch, "rl_"))
        count = counts["rl_tokens" if self.reduction == "tokens" else "examples"]
        rl_loss = policy_gradient_loss(log_probs, batch["rl_weights"], count, self.negative_floor)
        found = {"loss": self.rl_weight * rl_loss, "rl_loss": rl_loss}
        if counts["ce_tokens"]:
            log_probs = self.actor.log_probs(_part(batch, "ce_"))
            found["ce_loss"] = -log_probs.sum() / counts["ce_tokens"]
            found["loss"] = found["loss"] + self.ce_weight * found["ce_loss"]
        return found

    def _rl_log_probs(self, batch: Batch) -> Tensor:
        if self.rl_head is None:
            return self.actor.log_probs(batch)
        labels = batch["labels"]
        log_probs = self.rl_head(self.actor.hidden(batch)).float().log_softmax(-1)
        picked = log_probs.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return picked.masked_fill(labels == IGNORE, 0.0)


def _part(batch: Batch, prefix: str) -> Batch:
    return {k.removeprefix(prefix): v for k, v in batch.items() if k.startswith(prefix)}
