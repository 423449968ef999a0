"""Windows of token ids: nothing lost, nothing joined."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from pretrial.data.windows.cutting import TokenWindows
from pretrial.evaluate.perplexity import causal_nll
from pretrial.models.architectures.text_classifier import TextClassifier
from pretrial.models.architectures.text_encoder import encode
from pretrial.models.tokenizers import learn_bpe

TEXTS = ["one two three four five six seven eight", "", "a list", "x" * 100]


@pytest.fixture(scope="module")
def tokenizer():
    return learn_bpe(TEXTS, 270, template="<cls> $A <sep>")


def test_windows_hold_every_token_once_and_one_text_each(tokenizer):
    windows = TokenWindows(iter(TEXTS), tokenizer, 8)
    assert [token for window in windows for token in window] == [
        token for text in TEXTS for token in tokenizer(text, add_special_tokens=False)["input_ids"]
    ]
    assert max(map(len, windows)) == 8
    assert min(map(len, windows)) > 0
    assert tokenizer.cls_token_id not in set().union(*windows)
    assert any(tokenizer.decode(window) == "a list" for window in windows)


def test_windows_are_a_sequence(tokenizer):
    windows = TokenWindows(TEXTS, tokenizer, 8)
    assert windows[-1] == windows[len(windows) - 1]
    assert windows[1:3] == [windows[1], windows[2]]
    with pytest.raises(IndexError):
        windows[len(windows)]


SPECIAL = "price <s>10</s> then <mask id=1> <pad> <cls> of <sep> a <unk> list"


@pytest.mark.parametrize("use", ["windows", "nll", "encode", "classify"])
def test_special_tokens_that_are_written_in_a_text_are_text(use):
    specials = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer = learn_bpe([SPECIAL] * 20, 320, specials=specials)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    seen = []

    def spied(*arguments, **options):
        made = tokenizer(*arguments, **options)
        ids = torch.as_tensor(made["input_ids"]).flatten()
        seen.extend(ids.tolist())
        return made

    if use == "windows":
        seen.extend(TokenWindows([SPECIAL], tokenizer, 500)[0])
        assert tokenizer.decode(seen) == SPECIAL
    else:
        network, apply = _network(use, len(tokenizer))
        spied.is_fast, spied.bos_token_id, spied.eos_token_id = True, 0, 0
        apply(network, spied)
    assert len(seen) > 20
    assert not set(seen) & set(tokenizer.all_special_ids)


def _network(use, vocab_size):
    """A small network for a use of texts, and the use."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"vocab_size": vocab_size, "intermediate_size": 16}
    if use == "nll":
        network = LlamaForCausalLM(LlamaConfig(**sizes))
        return network, lambda net, tok: causal_nll(net, tok, [SPECIAL], max_length=64)
    kind = BertModel if use == "encode" else BertForSequenceClassification
    network = kind(BertConfig(**sizes)).eval()
    if use == "encode":
        return network, lambda net, tok: encode(net, tok, [SPECIAL], 200)
    return network, lambda net, tok: TextClassifier(net, tok, 200).logits([SPECIAL])
