"""Sequence-to-sequence models: a T5 from scratch, batches for them, and text in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import T5Config, T5ForConditionalGeneration

from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.models.decoding.cache import padded
from pretrial.models.decoding.sample import sample
from pretrial.objectives.tokens import token_loss
from pretrial.train.stage import Batch, Trainable

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


def shifted(model: Any, labels: Tensor) -> Tensor:
    """What the decoder reads to predict `labels`: the start token, then all of them but the last.

    Args:
        model: whose config names the start token and padding.
        labels: token ids [B, U], `IGNORE` at padding.
    """
    start = labels.new_full((len(labels), 1), model.config.decoder_start_token_id)
    ids = torch.cat([start, labels[:, :-1]], dim=1)
    return ids.masked_fill(ids == IGNORE, model.config.pad_token_id)


def pad_rows(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """Rows of ids as one tensor [B, T] on the CPU, filled on the right."""
    return padded(rows, fill, torch.device("cpu"))


def collate(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], pad_id: int
) -> Batch:
    """A batch of sources and targets, token ids with their special tokens.

    Returns:
        `input_ids` [B, T], `attention_mask` [B, T] (1 at tokens), `labels` [B, U] (-100 at
        padding), and counts: "examples", "targets" (tokens that are predicted) and "tokens"
        (those of sources and targets).
    """
    input_ids, labels = pad_rows(sources, pad_id), pad_rows(targets, IGNORE)
    num_targets = float(sum(map(len, targets)))
    counts = {
        "examples": float(len(sources)),
        "targets": num_targets,
        "tokens": num_targets + float(sum(map(len, sources))),
    }
    mask = pad_rows([[1] * len(row) for row in sources], 0)
    return {"input_ids": input_ids, "attention_mask": mask, "labels": labels, "counts": counts}


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
    if num_samples > 1 and not temperature and num_samples > num_beams:
        raise UserError(
            f"{num_samples} texts a source need a temperature above 0, or as many beams"
        )
    if num_beams > 1 and temperature:
        raise UserError("beam search does not sample: set temperature 0, or num_beams 1")
    texts = [source for source in sources if isinstance(source, str)]
    given = [source for source in sources if not isinstance(source, str)]
    ids = encode_texts(tokenizer, texts, max_source) if texts else given
    if num_beams > 1:
        rows = _beams(model, ids, tokenizer, max_new_tokens, num_samples, num_beams, forced)
    else:
        rows = sample(
            model,
            ids,
            num_samples=num_samples,
            max_new_tokens=max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=int(tokenizer.pad_token_id),
            greedy=not temperature,
            temperature=temperature or 1.0,
            top_p=top_p,
            prefixes=[[forced] * num_samples for _ in ids] if forced else None,
            generator=torch.Generator().manual_seed(seed),
            batch_size=batch_size,
        )
    skip = {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
    if not keep_special:
        skip |= set(tokenizer.all_special_ids)
    return [
        [str(tokenizer.decode([t for t in row[len(forced) :] if t not in skip])) for row in group]
        for group in rows
    ]


def _beams(
    model: Any,
    ids: Sequence[Sequence[int]],
    tokenizer: Any,
    max_new_tokens: int,
    num_samples: int,
    num_beams: int,
    forced: Sequence[int],
    batch_size: int = 16,
) -> list[list[list[int]]]:
    """Beam search, sources of like length together."""
    training, device = model.training, model.device
    model.eval()
    start = [model.config.decoder_start_token_id, *forced]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    found: dict[int, list[list[int]]] = {}
    for at in range(0, len(order), batch_size):
        rows = order[at : at + batch_size]
        batch = collate([ids[i] for i in rows], [[0]] * len(rows), int(tokenizer.pad_token_id))
        drawn = model.generate(
            input_ids=batch["input_ids"].to(device),
            attention_mask=batch["attention_mask"].to(device),
            decoder_input_ids=torch.tensor([start] * len(rows), device=device),
            max_new_tokens=max_new_tokens - len(forced),
            num_beams=num_beams,
            num_return_sequences=num_samples,
            do_sample=False,
        )[:, 1:].tolist()
        for place, row in enumerate(rows):
            found[row] = drawn[place * num_samples : (place + 1) * num_samples]
    model.train(training)
    return [found[i] for i in range(len(ids))]


def sequence_loss(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy of the labels of a batch of `collate`, a mean over targets."""
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=shifted(model, batch["labels"]),
        use_cache=False,
    ).logits
    return token_loss(logits.flatten(0, 1), batch["labels"].flatten(), batch["counts"]["targets"])


class TextToText(Trainable):
    """An encoder-decoder model that learns to write one text for another.

    Examples are (source, target) pairs of texts.

    Args:
        model: the model.
        tokenizer: its tokenizer, whose template closes texts with the end token.
        max_source: longer sources are cut to so many tokens.
        max_target: longer targets too.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        max_source: int,
        max_target: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.max_source = max_source
        self.max_target = max_target

    def batch(self, examples: Sequence[tuple[str, str]], generator: torch.Generator) -> Batch:
        sources, targets = zip(*examples, strict=True)
        return collate(
            encode_texts(self.tokenizer, sources, self.max_source),
            encode_texts(self.tokenizer, targets, self.max_target),
            int(self.tokenizer.pad_token_id),
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": sequence_loss(self.model, batch)}

    @torch.no_grad()
    def nats(
        self,
        examples: Sequence[tuple[str, str]],
        per_token: bool = True,
        batch_size: int = 64,
    ) -> list[float]:
        """-log p(target | source) of each pair, in eval mode; the mode comes back.

        Args:
            examples: (source, target) pairs.
            per_token: the mean over the tokens of the target, and not their sum.
            batch_size: pairs at once.
        """
        training, device = self.training, next(self.parameters()).device
        self.eval()
        found: list[float] = []
        for start in range(0, len(examples), batch_size):
            batch = self.batch(examples[start : start + batch_size], torch.Generator())
            labels = batch["labels"].to(device)
            logits = self.model(
                input_ids=batch["input_ids"].to(device),
                attention_mask=batch["attention_mask"].to(device),
                decoder_input_ids=shifted(self.model, labels),
                use_cache=False,
            ).logits
            losses = cross_entropy(logits.float().transpose(1, 2), labels, reduction="none")
            num_tokens = (labels != IGNORE).sum(1) if per_token else 1
            found += (losses.sum(1) / num_tokens).tolist()
        self.train(training)
        return found

    def generate_texts(self, sources: Sequence[str], **options: Any) -> list[str]:
        """What it writes for each source; options are those of `generate_texts`."""
        how = {"max_source": self.max_source, "max_new_tokens": self.max_target} | options
        groups = generate_texts(self.model, self.tokenizer, sources, **how)
        return [group[0] for group in groups]
