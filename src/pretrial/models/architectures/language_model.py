"""Language models as what a stage trains; they differ in what an example is.

`CausalLM` learns windows of token ids, each token from those before it. `ConditionalLM` learns
pairs of token ids, what is read and what is to be written, in the three layouts of `layouts`.
`TextToText` learns pairs of texts, with an encoder-decoder. All have one form of batch:

| field | content |
| --- | --- |
| input_ids | what is read; of a decoder also what it is to write [B, T] |
| attention_mask | True, or 1, at tokens [B, T] |
| labels | the token to be predicted at each place, -100 where none is [B, T] or [B, U] |
| loss_mask | True at the places whose label is counted, as `labels` |
| positions | the same places as indices into the flattened labels, ascending [N] |
| prefix_lengths | of a decoder's inputs, which a prefix decoder sees at once [B] |
| counts | "examples", "targets" (labels that are counted) and "tokens" |
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pretrial.corrupt.denoisers import Pair
from pretrial.corrupt.masks import IGNORE, chosen_of
from pretrial.models.architectures.layouts import architecture_of
from pretrial.models.architectures.seq2seq import (
    collate,
    encode_texts,
    generate_texts,
    pad_rows,
    plain_text,
    sequence_loss,
    shifted,
)
from pretrial.models.decoding.write import write
from pretrial.models.layers.attention_masks import additive_mask
from pretrial.objectives.tokens import token_loss
from pretrial.train.device import to_device
from pretrial.train.in_batches import each_by_length, in_batches
from pretrial.train.stage import Batch, Trainable


def decoder_batch(
    rows: Sequence[Sequence[int]], predicted: Sequence[Sequence[bool]], pad: int
) -> Batch:
    """Rows of token ids as a decoder's batch, see the module's table; all counts but "tokens".

    Args:
        rows: token ids.
        predicted: True at the tokens of each row that are to be predicted; the first cannot be.
        pad: fills the shorter rows, on the right, where no token looks.
    """
    ids = pad_rows(rows, pad)
    flags = pad_rows([[False, *row[1:], False] for row in predicted], False)
    loss_mask = flags[:, 1:]  # at the place before the token
    positions = loss_mask.flatten().nonzero().squeeze(1)
    sizes = torch.tensor([len(row) for row in rows])
    return {
        "input_ids": ids,
        "attention_mask": torch.arange(ids.shape[1]) < sizes[:, None],
        "labels": ids.roll(-1, 1).masked_fill(~loss_mask, IGNORE),
        "loss_mask": loss_mask,
        "positions": positions,
        "counts": {"examples": float(len(rows)), "targets": float(len(positions))},
    }


class LanguageModel(Trainable):
    """A network with its tokenizer; its subclasses say what an example is.

    Args:
        network: an encoder-decoder or decoder of transformers.
        tokenizer: None in a model that is neither trained nor used.
    """

    def __init__(self, network: Any, tokenizer: Any = None) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer

    @property
    def end(self) -> int:
        """The end token."""
        return int(self.tokenizer.eos_token_id)

    @property
    def pad(self) -> int:
        """What fills shorter rows; it is masked out."""
        pad = self.tokenizer.pad_token_id
        return self.end if pad is None else int(pad)

    def states(self, batch: Batch, vectors: Tensor | None = None) -> Tensor:
        """Last hidden states of a decoder [B, T, d].

        Args:
            batch: with padding on the right.
            vectors: of the tokens [B, T, d], in place of those of their ids.
        """
        mask = None  # causal as it is: padding stands behind, where no token looks
        if architecture_of(self.network) == "prefix_decoder":
            attention_mask, lengths = batch["attention_mask"], batch["prefix_lengths"]
            mask = additive_mask("prefix", attention_mask, lengths, dtype=self.network.dtype)
        given: dict[str, Any] = {"input_ids": batch["input_ids"]}
        if vectors is not None:
            given = {"inputs_embeds": vectors}
        return self.network.base_model(
            **given, attention_mask=mask, use_cache=False
        ).last_hidden_state

    def logits(self, batch: Batch, vectors: Tensor | None = None) -> Tensor:
        """What is predicted where labels count [N, V]; see `states`."""
        if not self.network.config.is_encoder_decoder:
            return self.network.lm_head(chosen_of(self.states(batch, vectors), batch))
        logits = self.network(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            decoder_input_ids=shifted(self.network, batch["labels"]),
            use_cache=False,
        ).logits
        return chosen_of(logits, batch)

    def losses(self, batch: Batch, vectors: Tensor | None = None) -> dict[str, Tensor]:
        """Mean cross-entropy of the labels."""
        logits, labels = self.logits(batch, vectors), chosen_of(batch["labels"], batch)
        return {"loss": token_loss(logits, labels, batch["counts"]["targets"])}

    @torch.no_grad()
    def write(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        also_ends: Collection[int] = (),
        **how: Any,
    ) -> list[list[list[int]]]:
        """Token ids that are written for prompts, without the end token.

        Args:
            prompts: token ids with the special tokens of a prompt.
            also_ends: tokens that end a text beside the end token.
            how: what `decoding.write.write` takes by name.
        """
        ends = {self.end, *also_ends}
        return write(self.network, prompts, eos=ends, pad=self.pad, **how)

    def text(self, ids: Sequence[int], keep_special: bool = False) -> str:
        """The text of tokens that were written; see `plain_text`."""
        return plain_text(self.tokenizer, ids, keep_special)

    def encode(self, prompts: Sequence[Sequence[int]], batch_size: int = 64) -> Tensor:
        """One vector for each prompt: the mean of the last states over what is read [N, d]."""
        return in_batches(self, prompts, self._vectors, batch_size)

    def _vectors(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        batch = decoder_batch(prompts, [[False] * len(row) for row in prompts], self.pad)
        mask = batch["attention_mask"]
        batch = to_device({**batch, "prefix_lengths": mask.sum(1)}, self.network.device)
        if self.network.config.is_encoder_decoder:
            states = self.network.get_encoder()(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"].long()
            ).last_hidden_state
        else:
            states = self.states(batch)
        weights = batch["attention_mask"][..., None]  # [B, T, 1]
        return (states * weights).sum(1) / batch["prefix_lengths"][:, None]


class CausalLM(LanguageModel):
    """A decoder that learns windows of token ids: every token of them but the first."""

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """A batch of windows; "tokens" are those that are predicted."""
        every = [[True] * len(window) for window in examples]
        batch = decoder_batch(examples, every, self.pad)
        batch["counts"]["tokens"] = batch["counts"]["targets"]
        return batch


class ConditionalLM(LanguageModel):
    """A network of one of the layouts, which learns to write targets for inputs.

    Targets come with their end token, where they have one; inputs without. An encoder's inputs are
    closed by the end token, as in T5; a decoder's begin with the start token, which is its config's
    `bos_token_id`, and may be closed by a separator.

    Args:
        network: an encoder-decoder or decoder of transformers.
        tokenizer: None in a model that is neither trained nor used.
        separator: id of a token between inputs and targets of a decoder; None for none.
        loss_on: "all" has a decoder predict its inputs too, which only a causal one cannot see.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: Any = None,
        separator: int | None = None,
        loss_on: Literal["targets", "all"] = "targets",
    ) -> None:
        super().__init__(network, tokenizer)
        self.separator = separator
        self.loss_on = loss_on

    def prompt(self, inputs: Sequence[int]) -> list[int]:
        """What the network reads before it writes."""
        if self.network.config.is_encoder_decoder:
            return [*inputs, self.end]
        start = self.network.config.bos_token_id
        closing = [] if self.separator is None else [self.separator]
        return [self.end if start is None else int(start), *inputs, *closing]

    def batch(self, examples: Sequence[Pair], generator: torch.Generator) -> Batch:
        """A batch of pairs; "tokens" are all that are read or written."""
        return self._batch(examples, self.loss_on == "all")

    def _batch(self, pairs: Sequence[Pair], inputs_too: bool) -> Batch:
        prompts = [self.prompt(pair.inputs) for pair in pairs]
        targets = [pair.targets for pair in pairs]
        if self.network.config.is_encoder_decoder:
            batch = collate(prompts, targets, self.pad)
            batch["positions"] = batch["loss_mask"].flatten().nonzero().squeeze(1)
            return batch
        rows = [[*prompt, *written] for prompt, written in zip(prompts, targets, strict=True)]
        predicted = [
            [inputs_too] * len(prompt) + [True] * len(written)
            for prompt, written in zip(prompts, targets, strict=True)
        ]
        batch = decoder_batch(rows, predicted, self.pad)
        batch["prefix_lengths"] = torch.tensor([len(prompt) for prompt in prompts])
        batch["counts"]["tokens"] = float(sum(map(len, rows)))
        return batch

    def nll(self, pairs: Sequence[Pair], batch_size: int = 64) -> list[Tensor]:
        """-log p in nats of every target token of each pair, in eval mode; the mode comes back."""

        def compute(own: list[Pair]) -> Sequence[Tensor]:
            batch = to_device(self._batch(own, inputs_too=False), self.network.device)
            labels = chosen_of(batch["labels"], batch)
            losses = cross_entropy(self.logits(batch).float(), labels, reduction="none")
            return losses.cpu().split([len(pair.targets) for pair in own])

        return each_by_length(
            self, pairs, compute, lambda pair: len(pair.inputs + pair.targets), batch_size
        )


class TextToText(LanguageModel):
    """An encoder-decoder that learns to write one text for another.

    Examples are (source, target) pairs of texts.

    Args:
        network: the model.
        tokenizer: its tokenizer, whose template closes texts with the end token.
        max_source: longer sources are cut to so many tokens.
        max_target: longer targets too.
    """

    def __init__(self, network: Any, tokenizer: Any, max_source: int, max_target: int) -> None:
        super().__init__(network, tokenizer)
        self.max_source = max_source
        self.max_target = max_target

    def batch(self, examples: Sequence[tuple[str, str]], generator: torch.Generator) -> Batch:
        """A batch of pairs; "tokens" are all that are read or written."""
        sources, targets = zip(*examples, strict=True)
        return collate(
            encode_texts(self.tokenizer, sources, self.max_source),
            encode_texts(self.tokenizer, targets, self.max_target),
            self.pad,
        )

    def losses(self, batch: Batch, vectors: Tensor | None = None) -> dict[str, Tensor]:
        """Mean cross-entropy of the labels."""
        return {"loss": sequence_loss(self.network, batch)}

    def nll(
        self, examples: Sequence[tuple[str, str]], per_token: bool = True, batch_size: int = 64
    ) -> list[float]:
        """-log p(target | source) in nats of each pair, in eval mode; the mode comes back.

        Args:
            examples: (source, target) pairs.
            per_token: the mean over the tokens of the target, and not their sum.
            batch_size: pairs at once.
        """

        def compute(some: Sequence[tuple[str, str]]) -> Tensor:
            batch = to_device(self.batch(some, torch.Generator()), self.network.device)
            losses = label_losses(self.network, batch)
            return losses.sum(1) / (batch["loss_mask"].sum(1) if per_token else 1)

        return list(in_batches(self, examples, compute, batch_size).tolist())

    def generate_texts(self, sources: Sequence[str], **options: Any) -> list[str]:
        """What it writes for each source; options are those of `generate_texts`."""
        how = {"max_source": self.max_source, "max_new_tokens": self.max_target} | options
        groups = generate_texts(self.network, self.tokenizer, sources, **how)
        return [group[0] for group in groups]


def label_losses(network: Any, batch: Batch) -> Tensor:
    """-log p in nats of every label of an encoder-decoder's batch [B, U], 0 at padding."""
    logits = network(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=shifted(network, batch["labels"]),
        use_cache=False,
    ).logits
    return cross_entropy(logits.float().transpose(1, 2), batch["labels"], reduction="none")
