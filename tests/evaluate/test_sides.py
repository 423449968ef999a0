"""The two sides of an encoder-decoder: what is fresh or frozen, and which units are active."""

import pytest
import torch

from pretrial.errors import UserError
from pretrial.evaluate.sides import (
    SIDES,
    active_ratios,
    change_side,
    diagnose_sides,
    side_parameters,
)
from pretrial.models.architectures.language_model import TextToText
from pretrial.models.architectures.seq2seq import new_bart, new_t5
from pretrial.models.tokenizers import ROBERTA_SPECIALS, learn_bpe

TEXTS = ["open the file", "close the file", "read a line", "write a line"]
PAIRS = [(text, text.split()[0]) for text in TEXTS * 5]


@pytest.fixture(scope="module")
def tokenizer():
    return learn_bpe(TEXTS, 300, specials=ROBERTA_SPECIALS, template="<s> $A </s>")


def writer(tokenizer, kind="bart"):
    torch.manual_seed(0)
    sizes = {"width": 16, "num_layers": 2, "num_heads": 2, "feed_forward": 32}
    ids = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "dropout_prob": 0.0}
    if kind == "bart":
        model = new_bart(len(tokenizer), num_positions=16, **sizes, **ids)
    else:
        model = new_t5(len(tokenizer), **sizes, **ids)
    return TextToText(model, tokenizer, 16, 8)


@pytest.mark.parametrize("kind", ["bart", "t5"])
@pytest.mark.parametrize("side", SIDES)
def test_a_fresh_side_has_other_weights_and_the_rest_is_left_alone(tokenizer, kind, side):
    model, before = writer(tokenizer, kind).network, writer(tokenizer, kind).network
    change_side(model, side, "fresh", seed=5)
    own = {id(p) for p in side_parameters(model, side).values()}
    assert own
    for (name, new), old in zip(model.named_parameters(), before.parameters(), strict=True):
        drawn = new.ndim > 1  # norms and biases begin at 1 and 0
        assert torch.equal(new, old) == (id(new) not in own or not drawn), name


def test_sides_share_nothing_and_a_frozen_one_does_not_learn(tokenizer):
    model = writer(tokenizer).network
    encoder, decoder = (set(side_parameters(model, side).values()) for side in SIDES)
    assert not encoder & decoder
    assert set(model.parameters()) - encoder - decoder == {model.get_input_embeddings().weight}
    change_side(model, "encoder", "frozen")
    assert {p for p in model.parameters() if not p.requires_grad} == encoder


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_the_share_of_active_units_is_that_of_the_weights(tokenizer, kind):
    made = writer(tokenizer, kind)
    layers = made.network.get_encoder().named_modules()
    first, second = (m for name, m in layers if name.endswith(("fc1", "wi")))
    with torch.no_grad():
        first.weight.zero_()
        if kind == "bart":  # half of the units are always above 0
            first.bias.copy_(torch.tensor([1.0, -1.0] * 16))
        second.weight.zero_()
    ratios = active_ratios(made, PAIRS, batch_size=3)
    assert ratios["encoder"] == [0.5 if kind == "bart" else 0.0, 0.0]
    assert all(0.2 < ratio < 0.8 for ratio in ratios["decoder"])
    assert active_ratios(made, PAIRS, batch_size=20)["decoder"] == pytest.approx(ratios["decoder"])


def test_five_settings_and_two_sides_are_told(tokenizer):
    how = {"epochs": 2, "lr": 3e-3, "batch_size": 4, "test_ratio": 0.2, "seed": 0}
    rows = list(diagnose_sides(lambda: writer(tokenizer), PAIRS, **how))
    assert [(row["side"], row.get("change")) for row in rows] == [
        ("both", "none"),
        ("encoder", "fresh"),
        ("decoder", "fresh"),
        ("encoder", "frozen"),
        ("decoder", "frozen"),
        ("encoder", None),
        ("decoder", None),
    ]
    assert len({row["loss"] for row in rows[:5]}) == 5
    assert all(0 <= row["exact_match"] <= 1 for row in rows[:5])
    assert all(len(row["active_ratio_by_layer"]) == 2 for row in rows[5:])
    again = list(diagnose_sides(lambda: writer(tokenizer), PAIRS, **how))
    assert again == rows


def test_missing_targets_and_too_few_pairs_name_the_mend(tokenizer):
    how = {"epochs": 1, "lr": 1e-3, "batch_size": 4, "seed": 0}
    with pytest.raises(UserError, match=r"--fields target=OTHER"):
        next(diagnose_sides(lambda: writer(tokenizer), [("a", "")], test_ratio=0.5, **how))
    with pytest.raises(UserError, match="give more examples"):
        next(diagnose_sides(lambda: writer(tokenizer), PAIRS[:3], test_ratio=0.5, **how))
