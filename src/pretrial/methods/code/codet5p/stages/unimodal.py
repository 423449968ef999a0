"""The first stage (section 3.1): code alone, read and written in three ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pretrial.corrupt.prefix import prefix_split
from pretrial.corrupt.spans import span_corruption
from pretrial.methods.code.codet5p.config import Config, Objective
from pretrial.methods.code.codet5p.network.t5 import CLM, decoder_logits, task_ids
from pretrial.models.architectures.seq2seq import collate
from pretrial.models.tokenizers import sentinel_ids
from pretrial.objectives.tokens import token_loss
from pretrial.train.stage import Batch, Trainable

_MIN_TOKENS = 2  # what can be parted into a beginning and a rest


class Unimodal(Trainable):
    """Denoises spans, goes on from a beginning, and writes everything; each example in one way.

    The way of an example is drawn, each with the same probability; the loss is the mean over ways
    of their mean cross-entropies, so that all weigh alike however many tokens they predict.

    Args:
        network: the T5.
        tokenizer: its tokenizer.
        config: the settings.
        objectives: the ways.
    """

    skips_parameters = True  # the network is read once for each way that was drawn

    def __init__(
        self, network: Any, tokenizer: Any, config: Config, objectives: Sequence[Objective]
    ) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.config = config
        self.objectives = tuple(objectives)
        self.clm_id = task_ids(tokenizer)[CLM]
        self.sentinels = sentinel_ids(tokenizer)
        self.joins = joins(tokenizer)
        self.open_parts()

    def open_parts(self) -> None:
        """Lets those parameters learn that a loss reaches; with `freeze_encoder` the decoder's."""
        network = self.network
        network.requires_grad_(True)
        for part in (network.proj, network.itm_head):
            part.requires_grad_(False)
        if self.config.freeze_encoder:
            network.encoder.block.requires_grad_(False)
            network.encoder.final_layer_norm.requires_grad_(False)
            for block in network.decoder.block:
                block.layer[1].requires_grad_(False)  # cross-attention

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Sources and targets of blocks of token ids, one group a way; see `seq2seq.collate`."""
        groups: dict[Objective, list[tuple[list[int], list[int]]]] = {
            n: [] for n in self.objectives
        }
        for ids in examples:
            pick = int(torch.randint(len(self.objectives), (), generator=generator))
            name = self.objectives[pick]
            groups[name].append(self._pair(name, ids, generator))
        counts = {"examples": float(len(examples)), "tokens": 0.0}
        batch: Batch = {"counts": counts}
        for name, pairs in groups.items():
            counts[f"{name}_targets"] = 0.0
            if pairs:
                sources, targets = zip(*pairs, strict=True)
                batch[name] = collate(sources, targets, self.tokenizer.pad_token_id)
                own = batch[name].pop("counts")
                counts[f"{name}_targets"] = own["targets"]
                counts["tokens"] += own["tokens"]
        return batch

    def _pair(
        self, name: Objective, ids: list[int], generator: torch.Generator
    ) -> tuple[list[int], list[int]]:
        """What is read and what is written."""
        start, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        if name == "span":
            config = self.config
            source, target = span_corruption(
                ids,
                self.sentinels,
                config.corruption_ratio,
                config.mean_length,
                generator=generator,
                eos=end,
                word_starts=word_starts(ids, self.joins),
            )
            return [start, *source], target
        if name == "prefix" and len(ids) >= _MIN_TOKENS:
            source, target = prefix_split(ids, generator=generator)
            return [self.clm_id, *source, end], [*target, end]
        return [self.clm_id], [*ids, end]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The mean over ways, and each way's mean cross-entropy."""
        counts, parts = batch["counts"], {}
        total = torch.zeros((), device=self.network.device)
        for name in self.objectives:
            loss = torch.zeros((), device=self.network.device)
            if name in batch:
                group = batch[name]
                mask, labels = group["attention_mask"], group["labels"]
                states = self.network.encoder(input_ids=group["input_ids"], attention_mask=mask)
                start = self.network.config.decoder_start_token_id
                logits = decoder_logits(self.network, states.last_hidden_state, mask, labels, start)
                loss = token_loss(logits.flatten(0, 1), labels.flatten(), counts[f"{name}_targets"])
            parts[f"{name}_loss"] = loss
            total = total + loss / len(self.objectives)
        return {"loss": total, **parts}


def joins(tokenizer: Any) -> tuple[list[bool], list[bool]]:
    """Whether a token begins, and whether it ends, with a letter, a digit or an underscore."""
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = set(tokenizer.all_special_tokens)
    starts = [piece not in special and _is_word(piece[:1]) for piece in pieces]
    ends = [piece not in special and _is_word(piece[-1:]) for piece in pieces]
    return starts, ends


def _is_word(sign: str) -> bool:
    # the vocabulary writes white space and other bytes as letters beyond ASCII
    return sign.isascii() and (sign.isalnum() or sign == "_")


def word_starts(ids: Sequence[int], joins: tuple[list[bool], list[bool]]) -> list[bool]:
    """True at the first token of each word [T]: a name, a number, or what stands between them."""
    begins, ends = joins
    return [
        place == 0 or not (begins[token] and ends[ids[place - 1]])
        for place, token in enumerate(ids)
    ]
