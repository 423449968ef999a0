"""A tokenizer learned from the user's own texts, for models that start from scratch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

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
_NUM_BYTES = 256


def learn_bpe(
    texts: Iterable[str],
    vocab_size: int,
    *,
    num_sentinels: int = 0,
    specials: Mapping[str, str] = SPECIALS,
    template: str | None = None,
) -> PreTrainedTokenizerFast:
    """Learns a byte-level BPE vocabulary: every text can be encoded and comes back unchanged.

    The same texts in the same order give the same tokenizer.

    Args:
        texts: read once; an iterator will do.
        vocab_size: entries in all, special tokens and sentinels included. Little text can give
            fewer, so size models by `len(tokenizer)`.
        num_sentinels: how many tokens "<extra_id_0>", "<extra_id_1>", ... follow the special ones.
        specials: role ("pad_token", "eos_token", ...) to text.
        template: what encoding adds around a text, such as "<cls> $A <sep>" or "$A </s>"; None adds
            nothing.

    Raises:
        UserError: the vocabulary has no room for the 256 bytes, the special tokens and one merge.
    """
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    sentinels = [f"<extra_id_{i}>" for i in range(num_sentinels)]
    reserved = [*specials.values(), *sentinels]
    least = _NUM_BYTES + len(reserved) + 1
    if vocab_size < least:
        raise UserError(
            f"a byte-level vocabulary with {len(reserved)} special tokens needs vocab_size of"
            f" {least} or more, not {vocab_size}"
        )
    tokenizer = Tokenizer(BPE(unk_token=specials.get("unk_token")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=reserved,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if template is not None:
        _add_template(tokenizer, template, reserved)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        extra_special_tokens=sentinels,
        clean_up_tokenization_spaces=False,
        **specials,
    )


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
