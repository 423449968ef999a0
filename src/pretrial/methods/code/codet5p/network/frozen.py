"""A small encoder beside a large decoder that stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CodeGenModel, T5Config, T5EncoderModel
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from pretrial.checkpoints.keys import load_pretrained, load_strict, load_tokenizer
from pretrial.checkpoints.parts import load_parts, save_parts
from pretrial.checkpoints.pretrained import load_generator
from pretrial.checkpoints.t5 import save_network
from pretrial.corrupt.masks import IGNORE
from pretrial.corrupt.prefix import prefix_split
from pretrial.errors import UserError
from pretrial.methods.code.codet5p.config import Config
from pretrial.methods.code.codet5p.network.cross_attention import add_cross_attention
from pretrial.methods.code.codet5p.network.released import kind_of, load_released
from pretrial.methods.code.codet5p.network.t5 import continued
from pretrial.models.architectures.seq2seq import collate, pad_rows
from pretrial.models.layers.attention_masks import additive_mask
from pretrial.objectives.tokens import token_loss
from pretrial.train.stage import Batch, Trainable


class FrozenDecoder(Trainable):
    """An encoder, a projection and cross-attention are trained; the decoder is not (section 3.3).

    The prompt goes to both: the encoder reads it in both directions, the decoder goes on from it.
    Examples are (prompt, target) pairs of texts, or lists of token ids that are parted at random.
    The loss is on the targets only.

    Args:
        encoder: of transformers; a causal one, such as CodeGen's, is made bidirectional by a mask.
        decoder: a causal language model of transformers.
        tokenizer: the decoder's, and the encoder's.
        config: the settings.
        rotary_dim: see `CrossAttention`.

    Attributes:
        bridge: the cross-attention, and the projection where the widths differ.
    """

    def __init__(
        self, encoder: Any, decoder: Any, tokenizer: Any, config: Config, rotary_dim: int = 0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.frozen = nn.ModuleDict({"decoder": decoder.requires_grad_(False).eval()})
        self.tokenizer = tokenizer
        self.settings = config
        ours, theirs = encoder.config.hidden_size, decoder.config.hidden_size
        cross = add_cross_attention(decoder, config.cross_layers, rotary_dim=rotary_dim)
        projection = nn.Linear(ours, theirs) if ours != theirs else nn.Identity()
        self.bridge = nn.ModuleDict({"cross": cross, "projection": projection})
        if config.half_decoder:
            decoder.to(torch.bfloat16)
        starts = (tokenizer.bos_token_id, tokenizer.eos_token_id)
        start = next((token for token in starts if token is not None), 0)
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else start
        # what `sample` asks of an encoder-decoder model
        self.config = SimpleNamespace(
            is_encoder_decoder=True,
            decoder_start_token_id=start,
            pad_token_id=self.pad_id,
            model_type="codet5p_frozen",
            _attn_implementation=decoder.config._attn_implementation,
        )
        self.generation_config = None

    @property
    def device(self) -> torch.device:
        """Where it stands."""
        return next(self.parameters()).device

    def get_encoder(self) -> Any:
        """The encoder's forward pass."""
        return self.read

    def read(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """States of the encoder for ids and 1 at tokens [B, S]."""
        mask = attention_mask
        if isinstance(self.encoder, CodeGenModel):
            kind = self.encoder.dtype
            mask = additive_mask("bidirectional", attention_mask.bool(), dtype=kind)
        return self.encoder(input_ids=input_ids, attention_mask=mask)

    def forward(
        self,
        encoder_outputs: Any,
        attention_mask: Tensor,
        decoder_input_ids: Tensor,
        past_key_values: Any = None,
        use_cache: bool = False,
    ) -> Any:
        """Logits of the decoder, which sees the encoder's states.

        Args:
            encoder_outputs: (states [B, S, w], ...).
            attention_mask: 1 at states, 0 at padding [B, S].
            decoder_input_ids: [B, T]; with a cache, the new ones.
            past_key_values: what an earlier pass gave.
            use_cache: give one.
        """
        past = past_key_values.self_attention_cache if past_key_values else None
        memory = self.bridge["projection"](encoder_outputs[0]), attention_mask.bool()
        for cross in self.cross:
            cross.memory, cross.offset = memory, past.get_seq_length() if past else 0
        try:
            output = self.frozen["decoder"](
                input_ids=decoder_input_ids, past_key_values=past, use_cache=use_cache
            )
        finally:
            for cross in self.cross:
                cross.memory = None
        if use_cache:
            output.past_key_values = EncoderDecoderCache(output.past_key_values, DynamicCache())
        return output

    @property
    def cross(self) -> Any:
        """The cross-attention of each layer that has one."""
        return self.bridge["cross"]

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        """Prompts for the encoder; prompts and targets for the decoder, `decoder_input_ids`."""
        pairs = [self._ids(example, generator) for example in examples]
        end, start = self.tokenizer.eos_token_id, self.config.decoder_start_token_id
        inputs = [[start, *prompt, *target] for prompt, target in pairs]
        labels = [[IGNORE] * len(prompt) + [*target, end] for prompt, target in pairs]
        batch = collate([prompt for prompt, _ in pairs], labels, self.pad_id)
        batch["decoder_input_ids"] = pad_rows(inputs, self.pad_id)
        batch["counts"]["targets"] = float(sum(len(target) + 1 for _, target in pairs))
        return batch

    def _ids(self, example: Any, generator: torch.Generator) -> tuple[list[int], list[int]]:
        """Token ids of a prompt, one at least, and of a target."""
        if not isinstance(example[0], str):
            return prefix_split(example, generator=generator)
        most = self.settings.max_text + self.settings.max_code, self.settings.max_code
        prompt, target = (
            self.tokenizer(text, add_special_tokens=False)["input_ids"][:length]
            for text, length in zip(example, most, strict=True)
        )
        return prompt or [self.config.decoder_start_token_id], target

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the targets, as in the release: on the response only."""
        mask, labels = batch["attention_mask"], batch["labels"]
        states = self.read(batch["input_ids"], mask).last_hidden_state
        logits = self((states,), mask, batch["decoder_input_ids"]).logits
        loss = token_loss(logits.flatten(0, 1), labels.flatten(), batch["counts"]["targets"])
        return {"loss": loss}

    def write(self, prompts: Sequence[str], *, num_beams: int = 1, **how: Any) -> list[list[str]]:
        """Continuations of prompts, which the encoder and the decoder read; see `continued`."""
        if num_beams > 1:
            raise UserError("beams are for a CodeT5+ of its own: beside a decoder set num_beams 1")
        generator = torch.Generator()  # nothing is drawn for texts
        ids = [self._ids((prompt, ""), generator)[0] for prompt in prompts]
        return continued(self, self.tokenizer, ids, ids, **how)

    def save(self, folder: Path) -> None:
        """Encoder, bridge and tokenizer; the decoder stays where it was loaded from."""
        save_network(self.encoder, folder / "encoder")
        save_parts(folder, {"bridge": self.bridge})
        self.tokenizer.save_pretrained(folder)


def beside_decoder(config: Config, source: str | Path | None = None) -> FrozenDecoder:
    """A trainable encoder beside `config.decoder`.

    Args:
        config: its `decoder` names a causal language model, or a released CodeT5+ of 2 B or more,
            which brings its own encoder and cross-attention.
        source: a folder written by `save`, or None for a new encoder, the size of the settings.

    Raises:
        UserError: there is no such decoder, or it is an encoder-decoder itself.
    """
    kind = kind_of(config.decoder)
    if kind == "encoder-decoder":
        raise UserError(
            f"{config.decoder} has an encoder of its own: name a causal language model as decoder,"
            " or train it whole, as the source of the run"
        )
    bridge: dict[str, Tensor] = {}
    if kind == "released":
        encoder, decoder, tokenizer, bridge = load_released(config.decoder)
        rotary_dim = decoder.config.rotary_dim
    else:
        decoder, tokenizer = load_generator(config.decoder)
        encoder, rotary_dim = _new_encoder(config, decoder), 0
    if source is not None:
        encoder = load_pretrained(type(encoder), Path(source) / "encoder")
        tokenizer = load_tokenizer(source)
    made = FrozenDecoder(encoder, decoder, tokenizer, config, rotary_dim)
    if source is not None:
        load_parts(source, {"bridge": made.bridge})
    elif bridge:
        load_strict(made.bridge, bridge, config.decoder)
    return made


def _new_encoder(config: Config, decoder: Any) -> Any:
    num_tokens = decoder.get_input_embeddings().num_embeddings
    head_size = config.width // config.num_heads
    return T5EncoderModel(config.network_config(T5Config, vocab_size=num_tokens, d_kv=head_size))
