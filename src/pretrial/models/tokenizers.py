"""A tokenizer learned from the user's own texts, for models that start from scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pretrial import status
from pretrial.checkpoints.t5 import resize_embeddings
from pretrial.data.reading.pieces import pieces
from pretrial.data.rows import spread
from pretrial.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

#: The role that each special token plays, and its text; their ids are 0, 1, 2, ... in this order.
SPECIALS: Mapping[str, str] = {
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "cls_token": "<cls>",
    "sep_token": "<sep>",
    "mask_token": "<mask>",
}
#: The same in RoBERTa's way, which CodeT5 has taken over: sequences are "<s> ... </s>".
ROBERTA_SPECIALS: Mapping[str, str] = {
    "pad_token": "<pad>",
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
_NUM_BYTES = 256
_MOST_TEXTS = 200_000
_CHARS_AT_ONCE = 2**18  # the library takes 256 texts at once


def learn_bpe(
    texts: Iterable[str],
    vocab_size: int,
    *,
    num_sentinels: int = 0,
    task_tokens: Sequence[str] = (),
    specials: Mapping[str, str] = SPECIALS,
    template: str | None = None,
    min_frequency: int = 0,
    split_digits: bool = False,
) -> PreTrainedTokenizerFast:
    """Learns a byte-level BPE vocabulary: every text can be encoded and comes back unchanged.

    The same texts in the same order give the same tokenizer.

    Args:
        texts: read once; an iterator will do. Of a sequence of more than 200,000 texts as many are
            read, spread evenly: further ones change little, and would take hours and memory.
        vocab_size: entries in all, special tokens and sentinels included. Little text can give
            fewer, so size models by `len(tokenizer)`.
        num_sentinels: how many tokens "<extra_id_0>", "<extra_id_1>", ... follow the special ones.
        task_tokens: further special tokens, such as "<java>", behind the sentinels.
        specials: role ("pad_token", "eos_token", ...) to text; several roles may share a token.
        template: what encoding adds around a text, such as "<cls> $A <sep>" or "$A </s>"; None adds
            nothing.
        min_frequency: pairs met less often are not merged.
        split_digits: every digit is a token of its own.

    Raises:
        UserError: the vocabulary has no room for the 256 bytes, the special tokens and one merge.
    """
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    sentinels = [f"<extra_id_{i}>" for i in range(num_sentinels)]
    further = [*sentinels, *task_tokens]
    reserved = list(dict.fromkeys([*specials.values(), *further]))
    least = _NUM_BYTES + len(reserved) + 1
    if vocab_size < least:
        raise UserError(
            f"a byte-level vocabulary with {len(reserved)} special tokens needs vocab_size of"
            f" {least} or more, not {vocab_size}"
        )
    tokenizer = Tokenizer(BPE(unk_token=specials.get("unk_token")))
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), to_bytes])
        if split_digits
        else to_bytes
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=reserved,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    with status.task("building the vocabulary"):
        tokenizer.train_from_iterator(_spread(texts), trainer)
    if template is not None:
        _add_template(tokenizer, template, reserved)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        extra_special_tokens=further,
        clean_up_tokenization_spaces=False,
        **specials,
    )


def special_ids(specials: Mapping[str, str]) -> dict[str, int]:
    """What a vocabulary of `learn_bpe` will number its special tokens, such as "eos_token_id".

    A network whose config names them can be made before the vocabulary is learned, or without one.
    """
    texts = list(dict.fromkeys(specials.values()))
    return {f"{role}_id": texts.index(text) for role, text in specials.items()}


def texts_of(
    examples: Sequence[Any], parts: Callable[[Any], Iterable[str | None]]
) -> Iterator[str]:
    """Texts to learn a vocabulary from: all parts of as many examples as `learn_bpe` reads texts.

    Args:
        examples: in memory or on the disk.
        parts: the texts of one; what is empty is left out.
    """
    found = spread(examples, _MOST_TEXTS)
    return (text for example in found for text in parts(example) if text)


def _spread(texts: Iterable[str]) -> Iterator[str]:
    """All texts, or the most that a vocabulary is learned from; long ones in pieces."""
    chosen = spread(texts, _MOST_TEXTS) if isinstance(texts, Sequence) else texts
    return (piece for text in chosen for piece in pieces([text], _CHARS_AT_ONCE))


def _add_template(tokenizer: Tokenizer, template: str, reserved: list[str]) -> None:
    """Makes encoding wrap every text in `template`."""
    from tokenizers.processors import TemplateProcessing

    used = [piece for piece in template.split() if piece in reserved]
    tokenizer.post_processor = TemplateProcessing(
        single=template, special_tokens=[(piece, tokenizer.token_to_id(piece)) for piece in used]
    )


def sentinel_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of "<extra_id_0>", "<extra_id_1>", ... in order, as far as they go."""
    vocabulary = tokenizer.get_vocab()
    ids: list[int] = []
    while (token := f"<extra_id_{len(ids)}>") in vocabulary:
        ids.append(vocabulary[token])
    return ids


def check_sentinels(tokenizer: PreTrainedTokenizerBase, num_embeddings: int, least: int) -> None:
    """Makes sure that sentinels mean what a model has learnt them to mean.

    Public vocabularies number them upwards or downwards; what matters is that each is one token,
    that they lie side by side, and that the model has an embedding for each.

    Args:
        tokenizer: of the checkpoint.
        num_embeddings: rows of the model's embedding matrix.
        least: sentinels that are needed.

    Raises:
        UserError: there are too few, or they are not what they should be.
    """
    ids = sentinel_ids(tokenizer)
    mend = "give a checkpoint with its own tokenizer, such as Salesforce/codet5-small"
    if len(ids) < least:
        raise UserError(f"the tokenizer has {len(ids)} sentinels <extra_id_N> of {least}: {mend}")
    steps = {after - before for before, after in pairwise(ids)}
    if steps not in ({1}, {-1}, set()) or max(ids) >= num_embeddings:
        raise UserError(
            f"the sentinels lie at {ids[0]}, {ids[1]}, ... {ids[-1]}, which is not in one row below"
            f" the {num_embeddings} embeddings of the model: {mend}"
        )
    whole = tokenizer("".join(f"<extra_id_{i}>" for i in range(len(ids))), add_special_tokens=False)
    if list(whole["input_ids"]) != ids:
        raise UserError(f"the tokenizer takes its sentinels apart: {mend}")


def add_task_tokens(tokenizer: PreTrainedTokenizerBase, model: Any, tokens: Sequence[str]) -> None:
    """Adds special tokens that a checkpoint lacks, and embeddings for them to its model.

    Embeddings that the model has in reserve are used first; new ones start at random.
    """
    known = tokenizer.get_vocab()
    missing = [token for token in tokens if token not in known]
    if missing:
        tokenizer.add_special_tokens(
            {"extra_special_tokens": missing}, replace_extra_special_tokens=False
        )
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:
            resize_embeddings(model, len(tokenizer))
