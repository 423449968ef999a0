"""One model in three layouts: who sees whom, losses, scores, and writing from a cache."""

import pytest
import torch
from transformers import LlamaForCausalLM

from pretrial.corrupt.denoisers import Pair
from pretrial.errors import UserError
from pretrial.models.architectures.language_model import CausalLM, ConditionalLM
from pretrial.models.architectures.layouts import architecture_of, new_llama, set_architecture
from pretrial.models.architectures.seq2seq import new_t5
from pretrial.models.architectures.t5_decoder import new_t5_decoder
from pretrial.models.layers.attention_masks import additive_mask

LAYOUTS = ("encoder_decoder", "prefix_decoder", "causal_decoder", "relative")


class Tokenizer:
    eos_token_id, pad_token_id = 1, 0


def make(layout, **options):
    torch.manual_seed(0)
    sizes = {"width": 32, "num_layers": 2, "num_heads": 2, "feed_forward": 48}
    if layout == "encoder_decoder":
        network = new_t5(60, dropout_prob=0.0, **sizes)
    elif layout == "relative":
        network = new_t5_decoder(60, "prefix_decoder", **sizes)
    else:
        network = new_llama(60, layout, max_positions=64, **sizes)
    return ConditionalLM(network, Tokenizer(), **options).eval()


def pairs(number=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    made = []
    for place in range(number):
        ids = torch.randint(2, 60, (4 + 2 * place,), generator=draw).tolist()
        made.append(Pair(ids[: 2 + place], [*ids[2 + place :], 1]))
    return made


def batch_of(model, examples):
    return model.batch(examples, torch.Generator())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_batch_costs_what_its_examples_cost_one_by_one(layout):
    model, examples = make(layout), pairs()
    whole = batch_of(model, examples)
    loss = model.losses(whole)["loss"] * whole["counts"]["targets"]
    parts = [batch_of(model, [pair]) for pair in examples]
    alone = sum(model.losses(part)["loss"] * part["counts"]["targets"] for part in parts)
    assert float(loss.detach()) == pytest.approx(float(alone.detach()), abs=1e-3, rel=1e-5)
    nll = model.nll(examples, batch_size=2)
    assert [len(part) for part in nll] == [len(pair.targets) for pair in examples]
    assert float(sum(part.sum() for part in nll)) == pytest.approx(float(alone.detach()), rel=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_counts_are_of_what_is_read_and_written(layout):
    examples = pairs()
    counts = batch_of(make(layout), examples)["counts"]
    assert counts["examples"] == 5.0
    assert counts["targets"] == float(sum(len(pair.targets) for pair in examples))
    # and one more each: an encoder's end token, or a decoder's start token
    assert counts["tokens"] == counts["targets"] + sum(len(pair.inputs) + 1 for pair in examples)


def states(model, inputs, targets):
    batch = batch_of(model, [Pair(inputs, targets)])
    return model.states(batch)[0]


@torch.no_grad()
def test_prefix_tokens_see_each_other_and_no_target():
    model = make("prefix_decoder")
    before = states(model, [5, 6, 7], [8, 9, 1])
    last = states(model, [5, 6, 17], [8, 9, 1])
    assert not torch.allclose(before[0], last[0], atol=1e-4)
    target = states(model, [5, 6, 7], [8, 19, 1])
    torch.testing.assert_close(before[:5], target[:5])
    assert not torch.allclose(before[5], target[5], atol=1e-4)
    set_architecture(model.network, "causal_decoder")
    before, last = states(model, [5, 6, 7], [8, 9, 1]), states(model, [5, 6, 17], [8, 9, 1])
    torch.testing.assert_close(before[:3], last[:3])


@torch.no_grad()
def test_start_and_prefix_see_each_other_and_losses_begin_at_the_first_target():
    model = make("prefix_decoder", separator=2)
    batch = batch_of(model, [Pair([5, 6], [8, 1]), Pair([5], [9, 8, 1])])
    assert batch["input_ids"].tolist() == [[0, 5, 6, 2, 8, 1], [0, 5, 2, 9, 8, 1]]
    assert batch["prefix_lengths"].tolist() == [4, 3]
    assert batch["positions"].tolist() == [3, 4, 8, 9, 10]
    assert batch["labels"][batch["loss_mask"]].tolist() == [8, 1, 9, 8, 1]
    assert batch["loss_mask"].flatten().nonzero().squeeze(1).tolist() == [3, 4, 8, 9, 10]


def test_loss_on_all_asks_for_the_inputs_too():
    batch = batch_of(make("causal_decoder", loss_on="all"), [Pair([5, 6], [8, 1])])
    assert batch["labels"][batch["loss_mask"]].tolist() == [5, 6, 8, 1]
    assert batch["counts"]["targets"] == 4.0


@torch.no_grad()
def test_parity_with_transformers():
    model = make("causal_decoder")
    pair = Pair([5, 6, 7], [8, 9, 1])
    batch = batch_of(model, [pair])
    plain = LlamaForCausalLM(model.network.config).eval()
    plain.load_state_dict(model.network.state_dict())
    ids = torch.tensor([[0, *pair.inputs, *pair.targets]])
    torch.testing.assert_close(model.logits(batch), plain(ids).logits[0, 3:-1], atol=1e-5, rtol=0)
    set_architecture(model.network, "prefix_decoder")
    mask = additive_mask("prefix", torch.ones_like(ids, dtype=torch.bool), torch.tensor([4]))
    wanted = plain(ids, attention_mask=mask).logits[0, 3:-1]
    torch.testing.assert_close(model.logits(batch), wanted, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_writing_from_a_cache_is_writing_without_one(layout):
    model = make(layout)
    inputs = [pair.inputs for pair in pairs()]
    written = model.write([model.prompt(row) for row in inputs], max_new_tokens=6)
    for read, ((*ids,),) in zip(inputs, written, strict=True):
        for place, token in enumerate(ids):
            batch = batch_of(model, [Pair(read, [*ids[:place], 3])])
            assert int(model.logits(batch)[-1].argmax()) == token


@pytest.mark.parametrize("layout", LAYOUTS)
def test_vectors_do_not_depend_on_the_batch(layout):
    model = make(layout)
    inputs = [pair.inputs for pair in pairs()]
    prompts = [model.prompt(row) for row in inputs]
    alone = torch.cat([model.encode([row]) for row in prompts])
    torch.testing.assert_close(model.encode(prompts), alone, atol=1e-5, rtol=1e-5)


def test_the_pattern_lies_with_the_weights(tmp_path):
    model = make("prefix_decoder")
    model.network.save_pretrained(tmp_path)
    assert architecture_of(LlamaForCausalLM.from_pretrained(tmp_path)) == "prefix_decoder"
    assert architecture_of(make("encoder_decoder").network) == "encoder_decoder"
    with pytest.raises(UserError, match="an encoder-decoder stays one"):
        set_architecture(model.network, "encoder_decoder")
    with pytest.raises(UserError, match="temperature above 0"):
        model.write([[3]], max_new_tokens=2, num_samples=2)


def test_windows_are_batches_of_the_same_form_with_all_but_the_first_predicted():
    model = CausalLM(make("causal_decoder").network, Tokenizer())
    batch = batch_of(model, [[5, 6, 7], [8, 9]])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch["attention_mask"].tolist() == [[True, True, True], [True, True, False]]
    assert batch["labels"].tolist() == [[6, 7, -100], [9, -100, -100]]
    assert batch["loss_mask"].tolist() == [[True, True, False], [True, False, False]]
    assert batch["positions"].tolist() == [0, 1, 3]
    assert batch["counts"] == {"examples": 2.0, "targets": 3.0, "tokens": 3.0}
