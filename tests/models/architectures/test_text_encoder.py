"""Vectors and classifiers of texts: padding decides nothing, and the encoder is left alone."""

import pytest
import torch
from transformers import BertConfig, BertModel, ElectraConfig, ElectraModel

from pretrial.errors import UserError
from pretrial.models.architectures.text_encoder import classifier_from, encode, token_vectors
from pretrial.models.tokenizers import learn_bpe

TEXTS = ["a list", "the names in the file and the length of each", "a", "read the file once"]


@pytest.fixture(scope="module")
def tokenizer():
    return learn_bpe(TEXTS, 280, template="<cls> $A <sep>")


@pytest.fixture(scope="module")
def encoder(tokenizer):
    torch.manual_seed(0)
    sizes = ElectraConfig(
        vocab_size=len(tokenizer),
        embedding_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    return ElectraModel(sizes)


def test_vectors_keep_the_order_of_the_texts_and_ignore_padding(encoder, tokenizer):
    together = encode(encoder, tokenizer, TEXTS, 64, batch_size=3)
    alone = torch.cat([encode(encoder, tokenizer, [text], 64) for text in TEXTS])
    assert together.shape == (4, 16)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_token_vectors_stand_at_their_places_and_average_to_the_text(encoder, tokenizer):
    found = token_vectors(encoder, tokenizer, TEXTS, 64, batch_size=3)
    for text, (states, spans) in zip(TEXTS, found, strict=True):
        assert len(states) == len(spans)
        assert "".join(text[start:end] for start, end in spans) == text
        ids = tokenizer(text, return_tensors="pt")
        own = encoder.eval()(**ids).last_hidden_state[0, 1:-1]
        torch.testing.assert_close(states, own.detach(), rtol=1e-5, atol=1e-6)


def test_encoding_is_without_dropout_and_leaves_the_mode_alone(encoder, tokenizer):
    encoder.train()
    assert torch.equal(encode(encoder, tokenizer, TEXTS, 64), encode(encoder, tokenizer, TEXTS, 64))
    assert encoder.training


def test_no_texts_name_the_mend(encoder, tokenizer):
    with pytest.raises(UserError, match="give at least one"):
        encode(encoder, tokenizer, [], 64)


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_classifier_starts_from_the_encoder_and_trains_a_copy(encoder, tokenizer, pooling):
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    model = classifier_from(encoder, 3, pooling).eval()
    copied = (model.encoder if pooling == "mean" else model.electra).state_dict()
    assert all(torch.equal(copied[name], weight) for name, weight in before.items())
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    logits = model(inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    assert logits.shape == (4, 3)
    short = tokenizer(TEXTS[:1], return_tensors="pt")
    alone = model(short["input_ids"], attention_mask=short["attention_mask"]).logits
    torch.testing.assert_close(logits[:1], alone, rtol=1e-5, atol=1e-6)
    logits.sum().backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert all(torch.equal(encoder.state_dict()[name], weight) for name, weight in before.items())


def test_a_pooler_that_the_mean_does_not_use_is_not_trained(tokenizer):
    """A public encoder brings one, and training stopped at its weights without a gradient."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(tokenizer), intermediate_size=32, **sizes)
    model = classifier_from(BertModel(config, add_pooling_layer=True), 3, "mean")
    ids = torch.tensor([tokenizer("two words").input_ids])
    model(ids, torch.ones_like(ids)).logits.sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained
    assert all(parameter.grad is not None for parameter in trained)
