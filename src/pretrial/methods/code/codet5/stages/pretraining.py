"""Pre-training: identifier-aware denoising, then dual generation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrial.corrupt.masks import IGNORE
from pretrial.methods.code.codet5.config import Config
from pretrial.methods.code.codet5.data import Example, Inputs, Written
from pretrial.models.architectures.seq2seq import collate, pad_rows, sequence_loss, shifted
from pretrial.objectives.tokens import token_loss
from pretrial.train.budget import Budget
from pretrial.train.run import Run
from pretrial.train.stage import Batch, Stage, Trainable

Objective = Callable[[Example, torch.Generator], Written]


class Denoising(Trainable):
    """Masked spans, masked identifiers and identifier tagging (section 3.2).

    Every example draws one of the objectives. The loss is the mean over the objectives of their
    losses, each a mean over its own tokens, which is what alternating between them gives on
    average.

    Args:
        network: the T5.
        tagger: from an encoder's state to the logit of "identifier"; None without tagging.
        inputs: makes the instances.
        config: which objectives there are.
    """

    skips_parameters = True  # a micro-batch may hold nothing to write

    def __init__(self, network: Any, tagger: nn.Linear | None, inputs: Inputs, config: Config):
        super().__init__()
        self.network = network
        self.tagger = tagger if config.tagging else None
        self.inputs = inputs
        named: dict[str, tuple[bool, Objective]] = {
            "spans": (config.spans, inputs.spans),
            "identifiers": (config.identifiers, inputs.names),
            "tagging": (config.tagging, inputs.tags),
        }
        self.objectives = {name: make for name, (wanted, make) in named.items() if wanted}

    def batch(self, examples: Sequence[Example], generator: torch.Generator) -> Batch:
        """Rows by objective, in the order of `objectives`.

        Returns:
            `input_ids` [B, T], `attention_mask` [B, T], `labels` [W, U] of the first W rows, which
            are written, `tags` [B - W, T] of the others, `num_rows` of each objective, and counts.
        """
        names = list(self.objectives)
        groups: dict[str, list[Written]] = {name: [] for name in names}
        for example in examples:
            name = names[int(torch.randint(len(names), (), generator=generator))]
            groups[name].append(self.objectives[name](example, generator))
        rows = [row for group in groups.values() for row in group]
        targets = [row.target for row in rows if row.target]
        pad = int(self.inputs.tokenizer.pad_token_id)
        batch = collate([row.source for row in rows], targets or [[]], pad)
        width = batch["input_ids"].shape[1]
        tags = [row.tags for row in rows if row.tags]
        if not targets:
            batch["labels"] = torch.empty(0, 0, dtype=torch.long)
        batch["loss_mask"] = batch["labels"] != IGNORE
        batch["tags"] = pad_rows(tags, IGNORE, width) if tags else torch.empty(0, width)
        batch["num_rows"] = {name: len(group) for name, group in groups.items()}
        batch["num_unparsed"] = float(sum(not row.parsed for row in rows))
        for name, group in groups.items():
            labels = [row.tags if name == "tagging" else row.target for row in group]
            batch["counts"][name] = float(sum(t != IGNORE for row in labels for t in row))
        return batch

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of each objective, 0 where no example drew it, their mean, and what share of the
        code did not parse.
        """
        states = self.network.encoder(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
        num_written = len(batch["labels"])
        parts = {f"{name}_loss": states.new_zeros(()) for name in self.objectives}
        if num_written:
            parts |= self._written_losses(states[:num_written], batch)
        if self.tagger is not None:
            logits = self.tagger(states[num_written:]).squeeze(-1).float()  # [B - W, T]
            is_code = batch["tags"] != IGNORE  # True at tokens of the code [B - W, T]
            losses = F.binary_cross_entropy_with_logits(
                logits, batch["tags"].clamp(min=0).to(logits.dtype), reduction="none"
            ).masked_fill(~is_code, 0.0)
            parts["tagging_loss"] = losses.sum() / max(batch["counts"]["tagging"], 1.0)
        # the objectives alternate with equal probability: on average, the mean of their losses
        total = torch.stack(list(parts.values())).sum() / len(self.objectives)
        unparsed = torch.tensor(batch["num_unparsed"] / batch["counts"]["examples"])
        return {"loss": total, **parts, "unparsed_ratio": unparsed}

    def _written_losses(self, states: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of what is written, by objective; states [W, T, d]."""
        labels = batch["labels"]
        logits = self.network(
            encoder_outputs=(states,),
            attention_mask=batch["attention_mask"][: len(labels)],
            decoder_input_ids=shifted(self.network, labels),
            use_cache=False,
        ).logits  # [W, U, V]
        parts, done = {}, 0
        for name in ("spans", "identifiers"):
            end = done + batch["num_rows"].get(name, 0)
            if end > done:
                parts[f"{name}_loss"] = token_loss(
                    logits[done:end].flatten(0, 1),
                    labels[done:end].flatten(),
                    batch["counts"][name],
                )
            done = end
        return parts


class BothWays(Sequence[tuple[Example, bool]]):
    """Every commented example twice: (example, True) to write code, (example, False) for words."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.places = [place for place, example in enumerate(examples) if example.comment.strip()]
        self.examples = examples

    def __len__(self) -> int:
        return 2 * len(self.places)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        return self.examples[self.places[index // 2]], index % 2 == 0


class DualGeneration(Trainable):
    """Code from comments and comments from code; examples are those of `BothWays`."""

    def __init__(self, network: Any, inputs: Inputs) -> None:
        super().__init__()
        self.network = network
        self.inputs = inputs

    def batch(self, examples: Sequence[tuple[Example, bool]], generator: torch.Generator) -> Batch:
        rows = [self.inputs.both_ways(example, to_code) for example, to_code in examples]
        pad = int(self.inputs.tokenizer.pad_token_id)
        return collate([row.source for row in rows], [row.target for row in rows], pad)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": sequence_loss(self.network, batch)}


def pretraining(
    network: Any, tagger: nn.Linear, inputs: Inputs, config: Config, run: Run
) -> Iterator[Stage]:
    """Denoising and, where there are comments, dual generation in its share of the budget."""
    both, held_out = BothWays(run.data), BothWays(run.held_out)
    share = config.dual_ratio if len(both) else 0.0
    if len(both) < len(run.data):
        run.say(f"{len(both) // 2} of {len(run.data)} examples have a comment")
    amount, unit = run.budget.amount, run.budget.unit
    module = Denoising(network, tagger, inputs, config)
    budget = Budget(amount * (1 - share), unit)
    yield Stage.of("denoise", module, run.data, config, budget=budget, held_out=run.held_out)
    if share:
        dual, budget = DualGeneration(network, inputs), Budget(amount * share, unit)
        yield Stage.of("dual", dual, both, config, budget=budget, held_out=held_out)
