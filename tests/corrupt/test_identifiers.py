"""Identifier masking: one sentinel a name, invertible, blind to what names are called."""

import re

import pytest

from pretrial.corrupt.identifiers import mask_identifiers
from pretrial.models.tokenizers import learn_bpe, sentinel_ids

CODE = "def area(width, height):\n    total = width * height  # width\n    return total\n"


@pytest.fixture(scope="module")
def tokenizer():
    return learn_bpe([CODE], 420, num_sentinels=100)


def names_of(text, names):
    """Spans of whole words outside the comment, by name, in the order of first use."""
    end = text.find("#") if "#" in text else len(text)
    spans = [m.span() for m in re.finditer(r"\w+", text) if m[0] in names]
    comment = text.find("\n", end)
    found = {}
    for start, stop in spans:
        if not end <= start < comment:
            found.setdefault(text[start:stop], []).append((start, stop))
    return found


def mask(tokenizer, text, names, **options):
    def encode(texts):
        return tokenizer(texts, add_special_tokens=False)["input_ids"]

    sentinels = options.pop("sentinels", sentinel_ids(tokenizer))
    return mask_identifiers(text, names_of(text, names), sentinels, encode, **options)


def restore(tokenizer, inputs, labels):
    sentinels, spans, current = set(sentinel_ids(tokenizer)), {}, None
    for token in labels:
        if token in sentinels:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    return tokenizer.decode([t for token in inputs for t in spans.get(token, [token])])


NAMES = ("area", "width", "height", "total")


def test_putting_the_names_back_gives_the_code(tokenizer):
    inputs, labels = mask(tokenizer, CODE, NAMES)
    assert restore(tokenizer, inputs, labels) == CODE
    used = [t for t in labels if t in sentinel_ids(tokenizer)]
    assert used == sentinel_ids(tokenizer)[:4]
    assert [inputs.count(token) for token in used] == [1, 2, 2, 2]


def test_renaming_changes_the_labels_and_not_the_inputs(tokenizer):
    other = re.sub(r"\btotal\b", "something_else", CODE)
    inputs, labels = mask(tokenizer, CODE, NAMES)
    renamed, others = mask(tokenizer, other, (*NAMES[:3], "something_else"))
    assert renamed == inputs
    assert others != labels


def test_names_beyond_the_sentinels_stay(tokenizer):
    names = [f"n{i}" for i in range(101)]
    text = "(" + ", ".join(names) + ")"
    inputs, labels = mask(tokenizer, text, names)
    assert restore(tokenizer, inputs, labels) == text
    assert len(set(labels) & set(sentinel_ids(tokenizer))) == 100
    assert tokenizer.decode(inputs).endswith("n100)")


def test_adjacent_names_are_not_merged_and_the_end_token_closes_both(tokenizer):
    inputs, labels = mask_identifiers(
        "ab",
        {"a": [(0, 1)], "b": [(1, 2)]},
        [900, 901],
        lambda s: [[*t.encode()] for t in s],
        eos=1,
    )
    assert inputs == [900, 901, 1]
    assert labels == [900, 97, 901, 98, 1]


def test_what_is_cut_off_is_not_asked_for(tokenizer):
    inputs, labels = mask(tokenizer, CODE, NAMES, max_length=5)
    whole, _ = mask(tokenizer, CODE, NAMES)
    assert inputs == whole[:5]
    asked = [t for t in labels if t in sentinel_ids(tokenizer)]
    assert asked == [t for t in sentinel_ids(tokenizer) if t in inputs]
    assert len(asked) < 4


def test_code_without_names_is_left_as_it_is(tokenizer):
    inputs, labels = mask(tokenizer, "1 + 1", ())
    assert tokenizer.decode(inputs) == "1 + 1"
    assert labels == []
