"""The learned tokenizer: loss-free, deterministic, and loadable by transformers."""

import subprocess
import sys

import pytest
from torch import nn
from transformers import AutoTokenizer, PreTrainedConfig

from pretrial.errors import UserError
from pretrial.models.tokenizers import (
    ROBERTA_SPECIALS,
    SPECIALS,
    add_task_tokens,
    check_sentinels,
    learn_bpe,
    sentinel_ids,
)

TEXTS = [
    "Return the length of the list.",
    "Return a list of the names in the file.\n\n    The file is read once.",
    "def area(width, height):\n    return width * height\n",
] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return learn_bpe(TEXTS, 300, num_sentinels=4, template="<cls> $A <sep>")


@pytest.mark.parametrize("text", [*TEXTS[:3], "\ttabs  and   runs of spaces\r\n", "ünïcödé 数 🙂"])
def test_any_text_comes_back_unchanged(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert tokenizer.unk_token_id not in ids


def test_special_tokens_come_first_and_play_their_roles(tokenizer):
    assert [getattr(tokenizer, f"{role}_id") for role in SPECIALS] == [0, 1, 2, 3, 4, 5]
    assert sentinel_ids(tokenizer) == [6, 7, 8, 9]
    assert set(sentinel_ids(tokenizer)) <= set(tokenizer.all_special_ids)


def test_template_wraps_each_text(tokenizer):
    ids = tokenizer("a list")["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a list"


def test_merges_shorten_text_and_the_size_is_kept(tokenizer):
    assert len(tokenizer) == 300
    ids = tokenizer("Return the list", add_special_tokens=False)["input_ids"]
    assert len(ids) < len("Return the list")


def test_saved_tokenizer_loads_in_transformers(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]
    assert again.mask_token_id == tokenizer.mask_token_id
    assert sentinel_ids(again) == sentinel_ids(tokenizer)


def test_same_texts_give_the_same_tokenizer_in_another_process(tokenizer):
    program = (
        "from pretrial.models.tokenizers import learn_bpe\n"
        f"t = learn_bpe({TEXTS!r}, 300, num_sentinels=4, template='<cls> $A <sep>')\n"
        "print(t.backend_tokenizer.to_str(), end='')"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert other.stdout.decode() == tokenizer.backend_tokenizer.to_str()


def test_too_small_a_vocabulary_names_the_least_size():
    with pytest.raises(UserError, match="needs vocab_size of 263 or more"):
        learn_bpe(TEXTS, 200)


def test_task_tokens_and_shared_roles():
    tokenizer = learn_bpe(
        TEXTS, 300, num_sentinels=3, task_tokens=("<java>",), specials=ROBERTA_SPECIALS
    )
    assert tokenizer.bos_token_id == tokenizer.cls_token_id == 1
    assert tokenizer.eos_token_id == tokenizer.sep_token_id == 2
    assert sentinel_ids(tokenizer) == [5, 6, 7]
    assert tokenizer.convert_tokens_to_ids("<java>") == 8
    assert tokenizer("<java>", add_special_tokens=False)["input_ids"] == [8]


def test_rare_pairs_are_not_merged_on_request():
    texts = ["aaaa zz", "aaaa qq", "aaaa ww"]
    tokenizer = learn_bpe(texts, 270, min_frequency=3)
    assert len(tokenizer("aaaa")["input_ids"]) < 4
    assert len(tokenizer("zz")["input_ids"]) == 2


@pytest.mark.parametrize("downwards", [False, True])
def test_sentinels_may_run_either_way_but_not_anyhow(downwards):
    tokenizer = learn_bpe(TEXTS, 300)
    names = [f"<extra_id_{i}>" for i in range(4)]
    add_task_tokens(tokenizer, _Embeddings(304), names[::-1] if downwards else names)
    assert sentinel_ids(tokenizer) == ([303, 302, 301, 300] if downwards else [300, 301, 302, 303])
    check_sentinels(tokenizer, 304, 4)
    with pytest.raises(UserError, match="has 4 sentinels <extra_id_N> of 5"):
        check_sentinels(tokenizer, 304, 5)
    with pytest.raises(UserError, match="not in one row below the 303 embeddings"):
        check_sentinels(tokenizer, 303, 4)
    odd = learn_bpe(TEXTS, 300)
    add_task_tokens(odd, _Embeddings(304), [names[1], names[0], names[3], names[2]])
    with pytest.raises(UserError, match="not in one row"):
        check_sentinels(odd, 304, 4)


class _Embeddings(nn.Module):
    """A model as far as its embedding matrix goes."""

    config = PreTrainedConfig(tie_word_embeddings=True)

    def __init__(self, size):
        super().__init__()
        self.num_embeddings = size

    def get_input_embeddings(self):
        return self

    def get_output_embeddings(self):
        return None

    def resize_token_embeddings(self, size, mean_resizing):
        self.num_embeddings = size


def test_added_tokens_use_reserved_embeddings_first():
    tokenizer = learn_bpe(TEXTS, 300, num_sentinels=2)
    roomy, full = _Embeddings(310), _Embeddings(300)
    add_task_tokens(tokenizer, roomy, ["<en>", "<java>"])
    assert roomy.num_embeddings == 310
    assert sentinel_ids(tokenizer) == [6, 7]
    assert set(sentinel_ids(tokenizer)) <= set(tokenizer.all_special_ids)
    add_task_tokens(tokenizer, full, ["<en>", "<c>"])
    assert full.num_embeddings == len(tokenizer) == 303


def test_digits_can_be_split():
    texts = ["in 2024 and 2024, 2024 times"] * 3
    tokenizer = learn_bpe(texts, 300, split_digits=True)
    pieces = [tokenizer.decode([i]) for i in tokenizer("x 20245")["input_ids"]]
    assert pieces[-5:] == list("20245")
    assert tokenizer.decode(tokenizer(texts[0])["input_ids"]) == texts[0]
    joined = learn_bpe(texts, 300)(" 2024")["input_ids"]
    assert len(joined) == 1
