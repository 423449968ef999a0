"""The learned tokenizer: loss-free, deterministic, and loadable by transformers."""

import subprocess
import sys

import pytest
from transformers import AutoTokenizer

from pretrial.errors import UserError
from pretrial.models.tokenizers import SPECIALS, learn_bpe, sentinel_ids

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
