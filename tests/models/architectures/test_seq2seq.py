"""Sequence to sequence: batches, losses as transformers has them, text in and text out."""

import pytest
import torch
from transformers.models.bart.modeling_bart import shift_tokens_right

from pretrial.errors import UserError
from pretrial.models.architectures.language_model import TextToText
from pretrial.models.architectures.seq2seq import (
    collate,
    generate_texts,
    new_bart,
    new_t5,
    sequence_loss,
    shifted,
)
from pretrial.models.tokenizers import ROBERTA_SPECIALS, learn_bpe

TEXTS = ["open the file", "close the file", "read a line", "write a line"]


@pytest.fixture(scope="module")
def tokenizer():
    return learn_bpe(TEXTS, 300, num_sentinels=5, specials=ROBERTA_SPECIALS, template="<s> $A </s>")


def new_model(tokenizer):
    torch.manual_seed(0)
    sizes = {"width": 32, "num_layers": 1, "num_heads": 2, "feed_forward": 64}
    return new_t5(len(tokenizer), **sizes, dropout_prob=0.0, bos_id=1, eos_id=2).eval()


@pytest.fixture(scope="module")
def model(tokenizer):
    return new_model(tokenizer)


def test_batches_are_padded_and_counted():
    batch = collate([[5, 6, 7], [8]], [[9], [10, 11]], pad_id=0)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[9, -100], [10, 11]]
    assert batch["counts"] == {"examples": 2.0, "targets": 3.0, "tokens": 7.0}


def test_the_decoder_reads_what_transformers_gives_it(model):
    labels = torch.tensor([[5, 6, 7, 2], [8, 2, -100, -100]])
    assert torch.equal(shifted(model, labels), model._shift_right(labels))
    sizes = {"width": 8, "num_layers": 1, "num_heads": 2, "feed_forward": 8, "num_positions": 9}
    bart = new_bart(20, **sizes)
    assert torch.equal(shifted(bart, labels), shift_tokens_right(labels, 1, 2))


def test_the_loss_of_a_bart_is_that_of_transformers(tokenizer):
    torch.manual_seed(0)
    sizes = {"width": 32, "num_layers": 2, "num_heads": 2, "feed_forward": 64, "num_positions": 16}
    ids = {"pad_id": tokenizer.pad_token_id, "bos_id": tokenizer.bos_token_id}
    bart = new_bart(len(tokenizer), **sizes, **ids, dropout_prob=0.0).eval()
    pairs = TextToText(bart, tokenizer, 16, 16)
    batch = pairs.batch([("open the file", "close"), ("a", "read a line")], torch.Generator())
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    torch.testing.assert_close(sequence_loss(bart, batch), bart(**inputs).loss)
    assert len(pairs.generate_texts(TEXTS, max_new_tokens=4)) == 4


def test_the_loss_is_that_of_transformers(model, tokenizer):
    pairs = TextToText(model, tokenizer, 16, 16)
    batch = pairs.batch(list(zip(TEXTS, reversed(TEXTS), strict=True)), torch.Generator())
    theirs = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        labels=batch["labels"],
    ).loss
    torch.testing.assert_close(sequence_loss(model, batch), theirs)


@pytest.fixture(scope="module")
def learned(tokenizer):
    """A model that writes the first word of each text."""
    own = new_model(tokenizer)
    pairs = TextToText(own, tokenizer, 16, 16)
    examples = list(zip(TEXTS, [text.split()[0] for text in TEXTS], strict=True))
    batch = pairs.batch(examples, torch.Generator())
    optimizer = torch.optim.Adam(own.parameters(), lr=5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        pairs.losses(batch)["loss"].backward()
        optimizer.step()
    return own


def test_a_model_learns_to_write_and_decoding_agrees_with_transformers(learned, tokenizer):
    pairs = TextToText(learned, tokenizer, 16, 16)
    assert pairs.generate_texts(TEXTS) == ["open", "close", "read", "write"]
    beams = generate_texts(
        learned, tokenizer, TEXTS, max_source=16, max_new_tokens=16, num_beams=3, num_samples=2
    )
    assert [group[0] for group in beams] == ["open", "close", "read", "write"]
    assert {len(group) for group in beams} == {2}


def test_nll_is_the_losses_of_single_pairs(model, tokenizer):
    pairs = TextToText(model, tokenizer, 16, 16)
    examples = list(zip(TEXTS, ["open", "close the", "a", "write a line"], strict=True))
    nll = pairs.nll(examples, batch_size=3)
    for example, found in zip(examples, nll, strict=True):
        alone = pairs.losses(pairs.batch([example], torch.Generator()))["loss"]
        assert found == pytest.approx(float(alone.detach()), rel=1e-4)


def test_forced_tokens_lead_the_text_and_are_left_out(learned, tokenizer):
    forced = tokenizer("open")["input_ids"][:-1]
    how = {"max_source": 16, "max_new_tokens": 8}
    assert generate_texts(learned, tokenizer, TEXTS[:1], **how) == [["open"]]
    for num_beams in (1, 2):
        led = generate_texts(
            learned, tokenizer, TEXTS[:1], forced=forced, num_beams=num_beams, **how
        )
        assert led == [[""]]


def test_sampling_follows_the_seed(model, tokenizer):
    how = {"max_source": 16, "max_new_tokens": 8, "temperature": 2.0, "num_samples": 3}
    once = generate_texts(model, tokenizer, TEXTS, seed=1, **how)
    assert once == generate_texts(model, tokenizer, TEXTS, seed=1, batch_size=2, **how)
    assert once != generate_texts(model, tokenizer, TEXTS, seed=2, **how)
    assert {len(group) for group in once} == {3}


def test_options_that_exclude_each_other_name_the_mend(model, tokenizer):
    how = {"max_source": 16, "max_new_tokens": 8}
    with pytest.raises(UserError, match="temperature above 0"):
        generate_texts(model, tokenizer, TEXTS, num_samples=2, **how)
    with pytest.raises(UserError, match="beam search does not sample"):
        generate_texts(model, tokenizer, TEXTS, num_beams=2, temperature=1.0, **how)
