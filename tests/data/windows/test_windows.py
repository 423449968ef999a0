"""Windows of token ids: nothing lost, nothing joined."""

import pytest

from pretrial.data.windows.cutting import TokenWindows
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
