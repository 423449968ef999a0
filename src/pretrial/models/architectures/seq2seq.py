"""Sequence-to-sequence models: a T5 or BART from scratch, batches for them, text in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from pretrial.corrupt.masks import IGNORE
from pretrial.models.decoding.cache import padded
from pretrial.models.decoding.write import write
from pretrial.objectives.tokens import token_loss
from pretrial.train.stage import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def new_t5(
    vocab_size: int,
    *,
    width: int,
    num_layers: int,
    num_heads: int,
    feed_forward: int,
    dropout_prob: float = 0.1,
    pad_id: int = 0,
    bos_id: int | None = None,
    eos_id: int = 1,
    head_size: int = 0,
    activation: str = "relu",
    tied: bool = True,
) -> T5ForConditionalGeneration:
    """An untrained T5, as many layers in the decoder as in the encoder.

    By default heads share `width` among them, as in T5-small, -base and -large and all of CodeT5;
    `head_size` gives each another. Later T5s have the activations "gated-gelu" or "gated-silu" and
    do not tie their embeddings. Decoding starts from the padding token.
    """
    # no fields of T5Config, yet its own
    further: dict[str, Any] = {
        "decoder_start_token_id": pad_id,
        "bos_token_id": bos_id,
        "tie_word_embeddings": tied,  # transformers takes it for "scale the states" alone
    }
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=vocab_size,
            d_model=width,
            d_kv=head_size or width // num_heads,
            d_ff=feed_forward,
            num_layers=num_layers,
            num_heads=num_heads,
            dropout_rate=dropout_prob,
            feed_forward_proj=activation,
            pad_token_id=pad_id,
            eos_token_id=eos_id,
            **further,
        )
    )
    if not tied:  # states are not scaled then, so that weights of size 1 would give large logits
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach() / width**0.5)
    return model


def new_bart(
    vocab_size: int,
    *,
    width: int,
    num_layers: int,
    num_heads: int,
    feed_forward: int,
    num_positions: int,
    dropout_prob: float = 0.1,
    init_std: float = 0.02,
    pad_id: int = 1,
    bos_id: int = 0,
    eos_id: int = 2,
) -> BartForConditionalGeneration:
    """An untrained BART with tied embeddings, as many layers in the decoder as in the encoder.

    Decoding starts from the end token, as in the released checkpoints. Their `init_std` of 0.02 is
    for a width of 1,024: narrow models want more, or what differs between texts drowns in their
    encoders.
    """
    return BartForConditionalGeneration(
        BartConfig(
            vocab_size=vocab_size,
            d_model=width,
            encoder_layers=num_layers,
            decoder_layers=num_layers,
            encoder_attention_heads=num_heads,
            decoder_attention_heads=num_heads,
            encoder_ffn_dim=feed_forward,
            decoder_ffn_dim=feed_forward,
            max_position_embeddings=num_positions,
            dropout=dropout_prob,
            attention_dropout=dropout_prob,
            init_std=init_std,
            pad_token_id=pad_id,
            bos_token_id=bos_id,
            eos_token_id=eos_id,
            decoder_start_token_id=eos_id,
            forced_eos_token_id=None,
        )
    )


def shifted(model: Any, labels: Tensor) -> Tensor:
    """What the decoder reads to predict `labels`: the start token, then all of them but the last.

    Args:
        model: whose config names the start token and padding.
        labels: token ids [B, U], `IGNORE` at padding.
    """
    start = labels.new_full((len(labels), 1), model.config.decoder_start_token_id)
    ids = torch.cat([start, labels[:, :-1]], dim=1)
    return ids.masked_fill(ids == IGNORE, model.config.pad_token_id)


def pad_rows(rows: Sequence[Sequence[int]], fill: int, length: int = 0) -> Tensor:
    """Rows of ids as one tensor [B, T] on the CPU, filled on the right; T is at least `length`."""
    return padded(rows, fill, torch.device("cpu"), length)


def collate(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], pad_id: int
) -> Batch:
    """A batch of sources and targets, token ids with their special tokens.

    Returns:
        `input_ids` [B, T], `attention_mask` [B, T] (1 at tokens), `labels` [B, U] (-100 at
        padding), `loss_mask` [B, U] (True at labels), and counts: "examples", "targets" (tokens
        that are predicted) and "tokens" (those of sources and targets).
    """
    input_ids, labels = pad_rows(sources, pad_id), pad_rows(targets, IGNORE)
    num_targets = float(sum(map(len, targets)))
    counts = {
        "examples": float(len(sources)),
        "targets": num_targets,
        "tokens": num_targets + float(sum(map(len, sources))),
    }
    return {
        "input_ids": input_ids,
        "attention_mask": pad_rows([[1] * len(row) for row in sources], 0),
        "labels": labels,
        "loss_mask": labels != IGNORE,
        "counts": counts,
    }


def encode_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int, plain: bool = False
) -> list[list[int]]:
    """Token ids of texts, with the special tokens of the tokenizer's template, cut to a length.

    Sentinels in a text are sentinels: that is how a model is asked to fill a gap. With `plain` they
    are text like any other, and so are `<pad>` and the ends of a text that are written in it.
    """
    options = {"split_special_tokens": True} if plain else {}
    encoded = tokenizer(list(texts), truncation=True, max_length=max_length, **options)
    return list(encoded["input_ids"])


@torch.no_grad()
def generate_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sources: Sequence[str] | Sequence[list[int]],
    *,
    max_source: int,
    max_new_tokens: int,
    num_samples: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    num_beams: int = 1,
    forced: Sequence[int] = (),
    keep_special: bool = False,
    seed: int = 0,
    batch_size: int = 64,
) -> list[list[str]]:
    """What a model writes for each source.

    Args:
        model: an encoder-decoder model; it is in eval mode meanwhile.
        tokenizer: its tokenizer.
        sources: texts, or token ids with their special tokens.
        max_source: longer texts are cut to so many tokens.
        max_new_tokens: longest text, in tokens.
        num_samples: texts for each source, when sampling or searching by beams.
        temperature: of sampling; 0 takes the most probable token each time.
        top_p: mass of the nucleus, when sampling.
        num_beams: above 1, beam search of transformers instead of sampling.
        forced: token ids that every text begins with; they are not part of the result.
        keep_special: leave special tokens in the text, such as the sentinels between spans.
        seed: of sampling.
        batch_size: sources, or rows when sampling, decoded at once.

    Returns:
        `num_samples` texts for each source.

    Raises:
        UserError: options that do not go together.
    """
    texts = [source for source in sources if isinstance(source, str)]
    given = [source for source in sources if not isinstance(source, str)]
    rows = write(
        model,
        encode_texts(tokenizer, texts, max_source) if texts else given,
        max_new_tokens=max_new_tokens,
        eos=int(tokenizer.eos_token_id),
        pad=int(tokenizer.pad_token_id),
        num_samples=num_samples,
        num_beams=num_beams,
        temperature=temperature,
        top_p=top_p,
        forced=forced,
        generator=torch.Generator().manual_seed(seed),
        batch_size=batch_size,
    )
    return [
        [plain_text(tokenizer, row[len(forced) :], keep_special) for row in group] for group in rows
    ]


def plain_text(tokenizer: Any, ids: Sequence[int], keep_special: bool = False) -> str:
    """The text of token ids without special tokens.

    Args:
        tokenizer: of the ids.
        ids: tokens.
        keep_special: leave out no more than padding and the ends of a text, and keep others, such
            as the sentinels between spans.
    """
    skip = {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
    if not keep_special:
        skip |= set(tokenizer.all_special_ids)
    return str(tokenizer.decode([token for token in ids if token not in skip]))


def sequence_loss(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy of the labels of a batch of `collate`, a mean over targets."""
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=shifted(model, batch["labels"]),
        use_cache=False,
    ).logits
    return token_loss(logits.flatten(0, 1), batch["labels"].flatten(), batch["counts"]["targets"])
