"""The last phase: cross-entropy on references and a policy gradient on sampled programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.network.model import ProgramModel
from pretrial.objectives.reinforce import kl_estimate, policy_gradient_loss
from pretrial.train.stage import Batch, Trainable


@dataclass(frozen=True)
class Weighted:
    """A sampled program and the weight of each of its tokens in the policy gradient.

    With the weights (r(W) - r(W_b)) * q(w_t) this is CodeRL; with all weights 1 it is plain
    imitation, of a reference or of the model's own passing programs (the controls of the trial).
    `sampled` are the log-probabilities of its tokens when it was sampled; empty without clipping.
    """

    source: list[int]
    target: list[int]
    weights: list[float]
    sampled: tuple[float, ...] = ()


class Reinforce(Trainable):
    """L = ce_weight * L_ce + rl_weight * L_rl, of equal weight in the release.

    Each example brings a sampled program, and with it one reference pair drawn at random, so that
    every micro-batch on every process holds both halves in equal number, whatever the accumulation.

    Args:
        actor: what is trained.
        pairs: the references, as (prompt ids, program ids); may be empty.
        config: weights of the losses. `reduction` "tokens" divides the policy gradient by the
            tokens of the step, as released, "programs" by its programs, as in the paper's equation;
            `rl_head` is a copy of the output matrix that serves the policy gradient only, as
            released; with `kl_weight` a frozen copy of the actor is what it is held near to.
    """

    def __init__(
        self, actor: ProgramModel, pairs: Sequence[tuple[list[int], list[int]]], config: Config
    ) -> None:
        super().__init__()
        self.actor = actor
        self.pairs = pairs if config.ce_weight else ()
        self.config = config
        self.rl_head: nn.Linear | None = None
        if config.rl_head:
            output = actor.network.get_output_embeddings()
            self.rl_head = nn.Linear(output.in_features, output.out_features, bias=False)
            self.rl_head.weight = nn.Parameter(output.weight.detach().clone())
        self.start: ProgramModel | None = None
        if config.kl_weight:
            self.start = actor.copy().requires_grad_(False)

    def batch(self, examples: Sequence[Weighted], generator: torch.Generator) -> Batch:
        """Sampled programs with `weights` [B, T], and `references`; see `ProgramModel.collate`."""
        sampled = self.actor.collate([e.source for e in examples], [e.target for e in examples])
        weights = torch.zeros(sampled["labels"].shape)
        for row, example in enumerate(examples):
            weights[row][sampled["loss_mask"][row]] = torch.tensor(example.weights)
        counts = sampled.pop("counts")
        counts |= {"rl_tokens": counts["tokens"], "ce_tokens": 0.0}
        batch: Batch = {"sampled": sampled, "weights": weights, "counts": counts}
        if self.config.clip:
            batch["log_probs"] = torch.zeros(weights.shape)
            for row, example in enumerate(examples):
                batch["log_probs"][row][sampled["loss_mask"][row]] = torch.tensor(example.sampled)
        if len(self.pairs):
            drawn = torch.randint(len(self.pairs), (len(examples),), generator=generator)
            batch["references"] = self.actor.batch([self.pairs[int(i)] for i in drawn], generator)
            counts["ce_tokens"] = batch["references"].pop("counts")["tokens"]
            counts["tokens"] += counts["ce_tokens"]
        return batch

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted sum, and both losses; without references the policy gradient alone."""
        c, counts = self.config, batch["counts"]
        # grad L_rl = -(r(W) - r(W_b)) * sum_t q(w_t) * grad log p(w_t | w_<t, D): one Monte-Carlo
        # sample; returns and weights are constants
        log_probs = self._rl_log_probs(batch["sampled"])
        count = counts["rl_tokens" if c.reduction == "tokens" else "examples"]
        rl_loss = policy_gradient_loss(
            log_probs, batch["weights"], count, c.negative_floor, c.clip, batch.get("log_probs")
        )
        found = {"loss": c.rl_weight * rl_loss, "rl_loss": rl_loss}
        if self.start is not None:
            self.start.eval()  # `train()` of the stage has put it to training with the rest
            with torch.no_grad():
                before = self.start.log_probs(batch["sampled"])
            found["kl"] = kl_estimate(log_probs, before).sum() / counts["rl_tokens"]
            found["loss"] = found["loss"] + c.kl_weight * found["kl"]
        if counts["ce_tokens"]:
            log_probs = self.actor.log_probs(batch["references"])
            found["ce_loss"] = -log_probs.sum() / counts["ce_tokens"]
            found["loss"] = found["loss"] + c.ce_weight * found["ce_loss"]
        return found

    def _rl_log_probs(self, batch: Batch) -> Tensor:
        if self.rl_head is None:
            return self.actor.log_probs(batch)
        log_probs = self.rl_head(self.actor.hidden(batch)).float().log_softmax(-1)
        picked = log_probs.gather(-1, batch["labels"].clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return picked.masked_fill(~batch["loss_mask"], 0.0)
