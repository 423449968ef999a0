"""One model that reads inputs and writes targets, in three layouts.

An encoder-decoder reads with one stack and writes with another. A decoder reads and writes with the
same: inputs and targets stand one behind the other after a start token. In a prefix (or non-causal)
decoder the inputs see each other, in a causal one every token sees what stands before it; nothing
but the mask tells them apart. Which one a decoder is, its config says: `attention_pattern` is
"prefix" or "causal", and lies with the weights in config.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from pretrial.corrupt.denoisers import Pair
from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.models.architectures.seq2seq import collate, pad_rows
from pretrial.models.decoding.sample import sample
from pretrial.models.layers.attention_masks import additive_mask
from pretrial.objectives.tokens import token_loss
from pretrial.train.device import to_device
from pretrial.train.stage import Batch, Trainable

Architecture = Literal["encoder_decoder", "prefix_decoder", "causal_decoder"]

PATTERNS: dict[Architecture, Literal["prefix", "causal"]] = {
    "prefix_decoder": "prefix",
    "causal_decoder": "causal",
}


def architecture_of(network: Any) -> Architecture:
    """What a network is; a decoder is causal unless its config says otherwise."""
    if network.config.is_encoder_decoder:
        return "encoder_decoder"
    prefix = getattr(network.config, "attention_pattern", "causal") == "prefix"
    return "prefix_decoder" if prefix else "causal_decoder"


def set_architecture(network: Any, architecture: Architecture) -> None:
    """Makes a decoder causal or a prefix decoder; no weight changes.

    Raises:
        UserError: it would have to become an encoder-decoder, or is one.
    """
    if network.config.is_encoder_decoder != (architecture == "encoder_decoder"):
        found = architecture_of(network)
        raise UserError(
            f"the weights of the {found} cannot become those of the {architecture}: decoders"
            " become each other, an encoder-decoder stays one"
        )
    if architecture != "encoder_decoder":
        network.config.attention_pattern = PATTERNS[architecture]


def new_llama(
    vocab_size: int,
    architecture: Architecture,
    *,
    width: int,
    num_layers: int,
    num_heads: int,
    feed_forward: int,
    head_size: int = 0,
    activation: str = "silu",
    tied: bool = True,
    max_positions: int,
    pad_id: int = 0,
    eos_id: int = 1,
) -> LlamaForCausalLM:
    """An untrained decoder with rotary positions and gated layers; `head_size` 0 divides `width`.

    Texts begin with the padding token, as T5's targets do.
    """
    network = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=width,
            intermediate_size=feed_forward,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            num_key_value_heads=num_heads,
            head_dim=head_size or width // num_heads,
            hidden_act=activation,
            max_position_embeddings=max_positions,
            tie_word_embeddings=tied,
            pad_token_id=pad_id,
            bos_token_id=pad_id,
            eos_token_id=eos_id,
        )
    )
    set_architecture(network, architecture)
    return network


class ConditionalLM(Trainable):
    """A network of one of the layouts, which learns to write targets for inputs.

    Targets come with their end token, where they have one; inputs without. An encoder's inputs are
    closed by the end token, as in T5; a decoder's begin with the start token, which is its config's
    `bos_token_id`, and may be closed by a separator.

    Args:
        network: an encoder-decoder or decoder of transformers.
        tokenizer: None in a model that is neither trained nor used.
        separator: id of a token between inputs and targets of a decoder; None for none.
        loss_on: "all" asks a decoder for its inputs too, which only a causal one cannot see.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: Any = None,
        separator: int | None = None,
        loss_on: Literal["targets", "all"] = "targets",
    ) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.separator = separator
        self.loss_on = loss_on

    @property
    def end(self) -> int:
        """The end token."""
        return int(self.tokenizer.eos_token_id)

    @property
    def pad(self) -> int:
        """What fills shorter rows; it is masked out."""
        pad = self.tokenizer.pad_token_id
        return self.end if pad is None else int(pad)

    def prompt(self, inputs: Sequence[int]) -> list[int]:
        """What the network reads before it writes."""
        if self.network.config.is_encoder_decoder:
            return [*inputs, self.end]
        start = self.network.config.bos_token_id
        closing = [] if self.separator is None else [self.separator]
        return [self.end if start is None else int(start), *inputs, *closing]

    def batch(self, examples: Sequence[Pair], generator: torch.Generator) -> Batch:
        """A batch of pairs.

        Returns:
            What the network reads; `positions` [N], flat places whose logits tell the targets;
            `targets` [N]; and counts: "examples", "targets" (tokens asked for) and "tokens" (all).
        """
        prompts = [self.prompt(pair.inputs) for pair in examples]
        written = [pair.targets for pair in examples]
        if self.network.config.is_encoder_decoder:
            batch = collate(prompts, written, self.pad)
            asked = batch["labels"].flatten()
            batch["positions"] = (asked != IGNORE).nonzero().squeeze(1)
            batch["targets"] = asked[batch["positions"]]
            return batch
        rows = [[*prompt, *targets] for prompt, targets in zip(prompts, written, strict=True)]
        ids, labels = pad_rows(rows, self.pad), pad_rows(rows, IGNORE)
        sizes = torch.tensor([len(prompt) for prompt in prompts])
        if self.loss_on == "targets":
            labels[torch.arange(ids.shape[1]) < sizes[:, None]] = IGNORE
        labels[:, 0] = IGNORE  # nothing stands before the start token
        asked = labels.roll(-1, 1).flatten()  # asked of the place before
        positions = (asked != IGNORE).nonzero().squeeze(1)
        real = torch.arange(ids.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
        counts = {
            "examples": float(len(rows)),
            "targets": float(len(positions)),
            "tokens": float(sum(map(len, rows))),
        }
        return {
            "ids": ids,
            "real": real,
            "prefix_lengths": sizes,
            "positions": positions,
            "targets": asked[positions],
            "counts": counts,
        }

    def logits(self, batch: Batch) -> Tensor:
        """Logits of the targets of a batch [N, V]."""
        if self.network.config.is_encoder_decoder:
            logits = self.network(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                decoder_input_ids=self.network.prepare_decoder_input_ids_from_labels(
                    batch["labels"]
                ),
                use_cache=False,
            ).logits
            return logits.flatten(0, 1)[batch["positions"]]
        states = self._decoder_states(batch["ids"], batch["real"], batch["prefix_lengths"])
        return self.network.lm_head(states.flatten(0, 1)[batch["positions"]])

    def _decoder_states(self, ids: Tensor, real: Tensor, prefix_lengths: Tensor) -> Tensor:
        """Last hidden states [B, T, d] of a decoder; padding is on the right."""
        mask = None  # causal as it is: padding stands behind, where no token looks
        if architecture_of(self.network) == "prefix_decoder":
            mask = additive_mask("prefix", real, prefix_lengths, dtype=self.network.dtype)
        return self.network.base_model(
            input_ids=ids, attention_mask=mask, use_cache=False
        ).last_hidden_state

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy of the targets."""
        count = batch["counts"]["targets"]
        return {"loss": token_loss(self.logits(batch), batch["targets"], count)}

    @torch.no_grad()
    def nats(self, pairs: Sequence[Pair], batch_size: int = 64) -> list[Tensor]:
        """-log p of every token of the targets of each pair, in eval mode; the mode comes back."""
        training, asked = self.training, self.loss_on
        self.eval()
        self.loss_on = "targets"
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i].inputs + pairs[i].targets))
        found: list[Tensor] = [torch.empty(0)] * len(pairs)
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            batch = self.batch([pairs[i] for i in places], torch.Generator())
            batch = to_device(batch, self.network.device)
            losses = cross_entropy(self.logits(batch).float(), batch["targets"], reduction="none")
            sizes = [len(pairs[i].targets) for i in places]
            for place, part in zip(places, losses.cpu().split(sizes), strict=True):
                found[place] = part
        self.train(training)
        self.loss_on = asked
        return found

    @torch.no_grad()
    def write(
        self,
        inputs: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        num_samples: int = 1,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        batch_size: int = 64,
    ) -> list[list[list[int]]]:
        """Token ids that are written for each of the inputs, without the end token.

        Args:
            inputs: token ids.
            max_new_tokens: the most that are written.
            num_samples: texts for each.
            temperature: of sampling; 0 takes the most probable token each time.
            top_p: mass of the nucleus.
            seed: of sampling.
            batch_size: rows at once.

        Raises:
            UserError: options that do not go together, or inputs too long for the network.
        """
        if num_samples > 1 and not temperature:
            raise UserError(f"{num_samples} texts for one input need a temperature above 0")
        return sample(
            self.network,
            [self.prompt(row) for row in inputs],
            num_samples=num_samples,
            max_new_tokens=max_new_tokens,
            eos_token_id=self.end,
            pad_token_id=self.pad,
            temperature=temperature or 1.0,
            top_p=top_p,
            greedy=not temperature,
            generator=torch.Generator().manual_seed(seed),
            batch_size=batch_size,
        )

    @torch.no_grad()
    def encode(self, inputs: Sequence[Sequence[int]], batch_size: int = 64) -> Tensor:
        """One vector for each input: the mean of the last states over what is read [N, d]."""
        training = self.training
        self.eval()
        vectors = [vector for part in _parts(inputs, batch_size) for vector in self._vectors(part)]
        self.train(training)
        return torch.stack(vectors)

    def _vectors(self, inputs: Sequence[Sequence[int]]) -> Tensor:
        rows = [self.prompt(row) for row in inputs]
        ids = pad_rows(rows, self.pad).to(self.network.device)
        sizes = torch.tensor([len(row) for row in rows], device=ids.device)
        real = torch.arange(ids.shape[1], device=ids.device) < sizes[:, None]
        if self.network.config.is_encoder_decoder:
            encoder = self.network.get_encoder()
            states = encoder(input_ids=ids, attention_mask=real.long()).last_hidden_state
        else:
            states = self._decoder_states(ids, real, sizes)
        return ((states * real[..., None]).sum(1) / sizes[:, None]).float().cpu()


def _parts(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
