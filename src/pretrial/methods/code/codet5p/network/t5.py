"""The network of CodeT5+: a T5 with a projection and a matching head.

The heads are submodules of the T5 itself, so that what is saved has the layout of the public
bimodal checkpoints (`encoder.*`, `decoder.*`, `proj.*`, `itm_head.*`), and any T5 loads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig, T5Config, T5ForConditionalGeneration
from transformers.utils import cached_file

from pretrial.checkpoints.keys import load_pretrained, load_strict, load_tokenizer, read_weights
from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.models.decoding.sample import sample
from pretrial.models.tokenizers import add_task_tokens

CLM, MATCH, TO_CODE, TO_TEXT = "[CLM]", "[ENC]", "[CDEC]", "[TDEC]"
TASK_TOKENS = (MATCH, TO_TEXT, TO_CODE, CLM)
_HEADS = ("proj.", "itm_head.")
_SIZES = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")


def with_heads(network: Any, embed_width: int) -> Any:
    """The T5 with a projection of states and a head that tells pairs from others."""
    width = network.config.d_model
    network.config.embed_dim = embed_width
    network.proj = nn.Linear(width, embed_width)
    network.itm_head = nn.Linear(width, 2)
    for head in (network.proj, network.itm_head):
        nn.init.normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
    return network


def load_network(source: str | Path, embed_width: int) -> tuple[Any, Any]:
    """A checkpoint in the layout of T5, of the embedding model or of the bimodal model.

    Heads that it lacks are randomly initialised, and so is the decoder of an embedding model.

    Args:
        source: the checkpoint.
        embed_width: of a projection that it lacks.

    Returns:
        The network and the tokenizer.

    Raises:
        UserError: there is none, or it is of another architecture.
    """
    found = _t5_config(source)
    model_type = found.pop("model_type", "t5")
    sizes = T5Config(**found)
    network: Any
    state = _weights(source)
    if "embedding" in model_type:
        network = T5ForConditionalGeneration(sizes)
        if "encoder.embed_tokens.weight" not in state:
            state["encoder.embed_tokens.weight"] = state["shared.weight"]
        load_strict(network.encoder, _part(state, "encoder."), source)
    else:
        network = load_pretrained(T5ForConditionalGeneration, source, beside=_HEADS, config=sizes)
    network = with_heads(network, found.get("embed_dim", embed_width))
    for name in _HEADS:
        if part := _part(state, name):
            load_strict(getattr(network, name[:-1]), part, source)
    tokenizer = load_tokenizer(source)
    add_task_tokens(tokenizer, network, TASK_TOKENS)
    return network.float(), tokenizer


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _t5_config(source: str | Path) -> dict[str, Any]:
    """The config.json of a T5, whatever it calls its model type.

    Raises:
        UserError: there is none, or it is no T5's.
    """
    try:
        values, _ = PreTrainedConfig.get_config_dict(str(source))
    except OSError as error:
        raise UserError(
            f"{source} is neither a folder with a checkpoint nor one in the cache, and it could not"
            f" be fetched: {str(error).strip().splitlines()[0]}"
        ) from error
    if not set(_SIZES) <= values.keys():
        raise UserError(
            f"{source} is no T5 but a {values.get('model_type', 'model of another kind')}: give"
            " CodeT5 or CodeT5+ up to 770 M; those of 2 B and more are an encoder beside a frozen"
            " decoder, which decoder=PATH loads"
        )
    return values


def _weights(source: str | Path) -> dict[str, Tensor]:
    """All weights of a checkpoint."""
    if Path(source).is_dir():
        return read_weights(source)
    for name in ("model.safetensors", "pytorch_model.bin"):
        path = cached_file(str(source), name, _raise_exceptions_for_missing_entries=False)
        if path is not None:
            return read_weights(path)
    raise UserError(f"{source} has neither model.safetensors nor pytorch_model.bin")


class Embedder(nn.Module):
    """The projected state of the first token, of length 1: what a momentum encoder copies."""

    def __init__(self, encoder: nn.Module, proj: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.proj = proj

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return embed(self.proj, states)


def embed(proj: nn.Module, states: Tensor) -> Tensor:
    """Embeddings [B, d] of encoder states [B, T, w]."""
    return F.normalize(proj(states[:, 0]), dim=-1)


def match_logits(
    network: Any, match_id: int, states: Tensor, mask: Tensor, codes: Tensor, code_mask: Tensor
) -> Tensor:
    """Logits of "does not belong" and "belongs together" [B, 2].

    The decoder reads the code, its first token replaced by the one that asks for a match, and sees
    the text through cross-attention; its state at the end token is classified.

    Args:
        network: see `with_heads`.
        match_id: the token that asks for a match.
        states: of the texts [B, T, w].
        mask: 1 at tokens of the texts [B, T].
        codes: token ids, the end token last [B, U].
        code_mask: 1 at tokens of the codes [B, U].
    """
    first = torch.full_like(codes[:, :1], match_id)
    output = network.decoder(
        input_ids=torch.cat([first, codes[:, 1:]], dim=1),
        attention_mask=code_mask,
        encoder_hidden_states=states,
        encoder_attention_mask=mask,
        use_cache=False,
    ).last_hidden_state
    last = (code_mask.sum(1) - 1).clamp(min=0)[:, None, None].expand(-1, 1, output.shape[-1])
    return network.itm_head(output.gather(1, last)[:, 0])


def decoder_logits(
    network: Any, states: Tensor, mask: Tensor, labels: Tensor, start_id: int
) -> Tensor:
    """Logits of the labels [B, U, V], the decoder beginning with a token of its own."""
    before = labels[:, :-1].masked_fill(labels[:, :-1] == IGNORE, network.config.pad_token_id)
    first = torch.full_like(labels[:, :1], start_id)
    return network(
        encoder_outputs=(states,),
        attention_mask=mask,
        decoder_input_ids=torch.cat([first, before], dim=1),
        use_cache=False,
    ).logits


@contextmanager
def starting_with(network: Any, token_id: int) -> Iterator[None]:
    """Inside the block decoding begins with this token."""
    before = network.config.decoder_start_token_id
    network.config.decoder_start_token_id = token_id
    try:
        yield
    finally:
        network.config.decoder_start_token_id = before


def task_ids(tokenizer: Any) -> dict[str, int]:
    """Ids of the task tokens."""
    vocabulary = tokenizer.get_vocab()
    return {token: vocabulary[token] for token in TASK_TOKENS}


@torch.no_grad()
def continued(
    network: Any,
    tokenizer: Any,
    sources: Sequence[Sequence[int]],
    prefixes: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    num_samples: int = 1,
    temperature: float = 0.0,
    top_p: float = 0.95,
    seed: int = 0,
) -> list[list[str]]:
    """What the decoder writes behind a prefix of its own.

    Args:
        network: as `sample` takes it.
        tokenizer: its tokenizer.
        sources: what the encoder reads, token ids.
        prefixes: what the decoder goes on from, token ids; one a source.
        max_new_tokens: longest continuation, in tokens.
        num_samples: continuations a source.
        temperature: of sampling; 0 takes the most probable token each time.
        top_p: of nucleus sampling.
        seed: of sampling.

    Returns:
        `num_samples` texts a source, without the prefix.
    """
    rows = sample(
        network,
        sources,
        num_samples=num_samples,
        max_new_tokens=max(map(len, prefixes)) + max_new_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=network.config.pad_token_id,
        temperature=temperature or 1.0,
        top_p=top_p,
        greedy=not temperature,
        prefixes=[[prefix] * num_samples for prefix in prefixes],
        generator=torch.Generator().manual_seed(seed),
    )
    return [
        [
            str(tokenizer.decode(row[len(prefix) :][:max_new_tokens], skip_special_tokens=True))
            for row in group
        ]
        for prefix, group in zip(prefixes, rows, strict=True)
    ]
