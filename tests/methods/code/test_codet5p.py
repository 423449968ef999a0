"""The mechanisms of CodeT5+."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch
from torch import nn

from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.methods.code.codet5p import CodeT5p, Config
from pretrial.methods.code.codet5p.abilities.retrieval import embeddings, pair_logits
from pretrial.methods.code.codet5p.abilities.writing import completions
from pretrial.methods.code.codet5p.data import read_rows, without_docstring
from pretrial.methods.code.codet5p.network.t5 import CLM, MATCH, TASK_TOKENS, match_logits, task_ids
from pretrial.methods.code.codet5p.stages import bimodal
from pretrial.methods.code.codet5p.stages.bimodal import Bimodal
from pretrial.methods.code.codet5p.stages.unimodal import Unimodal, joins, word_starts
from pretrial.models.architectures.seq2seq import encode_texts
from pretrial.models.tokenizers import sentinel_ids
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

PAIRS = read_rows(CodeT5p.sample_rows())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def made(**changes):
    torch.manual_seed(0)
    config = dataclasses.replace(Config.tiny(), **changes)
    return CodeT5p.build(config, data=PAIRS)


@pytest.fixture(scope="module")
def method():
    return made().eval()


def blocks_of(method, number=8, length=30):
    text = "\n".join(pair.code for pair in PAIRS)
    ids = method.tokenizer(text, add_special_tokens=False)["input_ids"]
    return [ids[start : start + length] for start in range(0, number * length, length)]


# -- code alone -----------------------------------------------------------------------------------


def parts_of(method, objectives, blocks):
    part = Unimodal(method.network, method.tokenizer, method.config, objectives)
    return part.batch(blocks, generator())


def test_spans_put_back_give_the_code(method):
    blocks = blocks_of(method)
    group = parts_of(method, ("span",), blocks)["span"]
    sentinels = sentinel_ids(method.tokenizer)
    for ids, source, labels in zip(blocks, group["input_ids"], group["labels"], strict=True):
        spans, place = {}, None
        for token in labels[labels != IGNORE].tolist()[:-1]:
            if token in sentinels:
                place = token
                spans[place] = []
            else:
                spans[place].append(token)
        source = source[source != method.tokenizer.pad_token_id].tolist()[1:-1]
        assert [t for token in source for t in spans.get(token, [token])] == ids


def test_spans_never_split_a_word(method):
    known = joins(method.tokenizer)
    tokenizer = method.tokenizer
    ids = tokenizer("return multiply_width(other_1) + 42", add_special_tokens=False)["input_ids"]
    starts = word_starts(ids, known)
    words: list[str] = []
    for token, is_start in zip(ids, starts, strict=True):
        piece = tokenizer.decode([token])
        words = [*words, piece] if is_start else [*words[:-1], words[-1] + piece]
    assert [word.strip() for word in words if word.strip().isidentifier()] == [
        "return",
        "multiply_width",
        "other_1",
    ]
    for ids in blocks_of(method):
        group = parts_of(method, ("span",), [ids])["span"]
        shown = set(group["input_ids"][0].tolist())
        labels = group["labels"][0].tolist()
        hidden = [t for t in labels if t not in sentinel_ids(tokenizer)][:-1]
        assert hidden
        assert shown & set(sentinel_ids(tokenizer))


def test_prefixes_and_whole_blocks_begin_with_their_token(method):
    clm, end = task_ids(method.tokenizer)[CLM], method.tokenizer.eos_token_id
    blocks = blocks_of(method)
    group = parts_of(method, ("prefix",), blocks)["prefix"]
    shares = []
    for ids, source, labels in zip(blocks, group["input_ids"], group["labels"], strict=True):
        read = source[source != method.tokenizer.pad_token_id].tolist()
        wrote = labels[labels != IGNORE].tolist()
        assert (read[0], read[-1], wrote[-1]) == (clm, end, end)
        assert read[1:-1] + wrote[:-1] == ids
        shares.append((len(read) - 2) / len(ids))
    assert 0.1 <= min(shares) < 0.5 < max(shares) <= 0.9
    group = parts_of(method, ("decoder",), blocks)["decoder"]
    assert group["input_ids"].tolist() == [[clm]] * len(blocks)
    assert group["labels"][0].tolist() == [*blocks[0], end]


def test_ways_weigh_alike_whatever_they_predict(method):
    ways = ("span", "prefix", "decoder")
    part = Unimodal(method.network, method.tokenizer, method.config, ways)
    batch = part.batch(blocks_of(method) * 4, generator())
    losses = part.losses(batch)
    mean = sum(losses[f"{way}_loss"] for way in ways) / 3
    torch.testing.assert_close(losses["loss"], mean)


def test_decoder_only_mode_sees_nothing_of_the_encoder_but_one_state(method):
    clm = torch.tensor([[task_ids(method.tokenizer)[CLM]]])
    state = method.network.encoder(clm).last_hidden_state
    wanted = completions(
        method.network, method.tokenizer, ["def add_w"], max_prefix=20, max_new_tokens=6
    )

    class Constant(nn.Module):
        main_input_name = "input_ids"

        def forward(self, input_ids, **_):
            from transformers.modeling_outputs import BaseModelOutput

            return BaseModelOutput(state.expand(len(input_ids), -1, -1))

    other = made().eval()
    other.network.load_state_dict(method.network.state_dict())
    other.network.encoder = Constant()
    found = completions(
        other.network, other.tokenizer, ["def add_w"], max_prefix=20, max_new_tokens=6
    )
    assert found == wanted


def test_tuning_the_decoder_alone_leaves_the_rest(tmp_path):
    method = made(stages=("unimodal",), objectives=("decoder",), freeze_encoder=True)
    before = {k: v.clone() for k, v in method.network.state_dict().items()}
    train(method, Run(tmp_path, PAIRS, budget=Budget(3), quiet=True))
    for name, weight in method.network.state_dict().items():
        kept = name.startswith("encoder.block") or ".EncDecAttention." in name
        if kept or name.startswith("decoder.block.0.layer.2"):
            assert torch.equal(weight, before[name]) == kept, name


# -- pairs ----------------------------------------------------------------------------------------


def test_queue_holds_exactly_the_last_batches(tmp_path):
    method = made(queue_size=16, generation=False)
    part = Bimodal(method.network, method.tokenizer, method.config).train()
    marks = []
    for step in range(5):
        chosen = [PAIRS[(8 * step + i) % len(PAIRS)] for i in range(8)]
        batch = part.batch(chosen, generator(step))
        part.losses(batch)["loss"].backward()
        part.after_step()
        marks.append(batch["checksums"])
    last = torch.cat(marks[-2:])
    for queue, column in ((part.texts, 0), (part.codes, 1)):
        assert sorted(queue.ids[:, 0].tolist()) == sorted(last[:, column].tolist())
        torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(16))


def test_momentum_encoder_is_the_closed_form_average():
    method = made(momentum=0.8)
    part = Bimodal(method.network, method.tokenizer, method.config).train()
    proj, seen = method.network.proj.weight, []
    seen.append(proj.detach().clone())
    for _ in range(3):
        with torch.no_grad():
            proj.add_(torch.randn_like(proj))
        seen.append(proj.detach().clone())
        part.after_step()
    wanted = 0.8**3 * seen[0] + 0.2 * (0.64 * seen[1] + 0.8 * seen[2] + seen[3])
    torch.testing.assert_close(part.momentum.average.proj.weight, wanted)


def test_mined_rows_are_wrong_ones_and_hard_ones_are_near(monkeypatch):
    method = made(queue_size=0)
    twice = [PAIRS[0], dataclasses.replace(PAIRS[1], text=PAIRS[0].text), *PAIRS[2:6]]
    part = Bimodal(method.network, method.tokenizer, method.config)
    seen = []

    def spy(scores, allowed, temperature, seeds):
        picked = real(scores, allowed, temperature, seeds)
        seen.append((scores, allowed, temperature, picked))
        return picked

    real = bimodal.hard_negatives
    monkeypatch.setattr(bimodal, "hard_negatives", spy)
    part.losses(part.batch(twice, generator()))
    for scores, allowed, temperature, picked in seen:
        assert temperature == method.config.mining_temperature
        assert scores.std() > 0
        assert not allowed[0, 1]  # the same text: its code is no negative
        assert not allowed[1, 0]
        assert not allowed.diagonal().any()
        assert allowed.gather(1, picked[:, None]).all()
    seen.clear()
    even = dataclasses.replace(method.config, hard_negatives=False)
    part = Bimodal(method.network, method.tokenizer, even)
    part.losses(part.batch(twice, generator()))
    assert [temperature for _, _, temperature, _ in seen] == [float("inf")] * 2


def test_one_example_alone_has_no_negative_and_no_nan():
    method = made(queue_size=0)
    part = Bimodal(method.network, method.tokenizer, method.config)
    losses = part.losses(part.batch(PAIRS[:1], generator()))
    assert torch.isfinite(losses["loss"])
    assert float(losses["contrastive_loss"].detach()) == 0


def test_matching_is_that_of_the_equations(method):
    network, tokenizer, config = method.network, method.tokenizer, method.config
    text, code = PAIRS[0].text, PAIRS[0].code
    texts = torch.tensor(encode_texts(tokenizer, [text], config.max_text))
    codes = torch.tensor(encode_texts(tokenizer, [code], config.max_code))
    with torch.no_grad():
        states = network.encoder(texts).last_hidden_state
        match_id = task_ids(tokenizer)[MATCH]
        read = torch.cat([torch.tensor([[match_id]]), codes[:, 1:]], dim=1)
        output = network.decoder(read, encoder_hidden_states=states).last_hidden_state
        assert int(read[0, -1]) == tokenizer.eos_token_id
        wanted = network.itm_head(output[:, -1])
        ones = torch.ones_like(texts), torch.ones_like(codes)
        found = match_logits(network, match_id, states, ones[0], codes, ones[1])
    torch.testing.assert_close(found, wanted)
    many = pair_logits(network, tokenizer, [text] * 3, [code, "x", code * 3], 16, 48)
    torch.testing.assert_close(many[0], wanted[0, 1], atol=1e-5, rtol=1e-4)


def test_matching_hears_the_order_of_words_where_a_bag_of_words_does_not(method):
    text, turned = "add the width to the price", "add the price to the width"
    code = PAIRS[0].code
    logits = pair_logits(method.network, method.tokenizer, [text, turned], [code] * 2, 16, 48)
    assert abs(float(logits[0] - logits[1])) > 1e-6
    assert sorted(text.split()) == sorted(turned.split())


def test_embedding_is_the_projected_first_state_of_length_one(method):
    network, tokenizer = method.network, method.tokenizer
    vectors = embeddings(network, tokenizer, ["add", "", "multiply the width"], 48)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    ids = torch.tensor(encode_texts(tokenizer, ["multiply the width"], 48))
    with torch.no_grad():
        wanted = network.proj(network.encoder(ids).last_hidden_state[:, 0])
    torch.testing.assert_close(vectors[2:], nn.functional.normalize(wanted, dim=-1))


@pytest.mark.parametrize("off", ["contrastive", "matching", "generation"])
def test_parts_without_their_loss_stay_as_they_are(off, tmp_path):
    method = made(stages=("bimodal",), **{off: False})
    before = {k: v.clone() for k, v in method.network.state_dict().items()}
    train(method, Run(tmp_path, PAIRS, budget=Budget(2), quiet=True))
    heads = {"contrastive": "proj.weight", "matching": "itm_head.weight"}
    after = method.network.state_dict()
    for name, head in heads.items():
        assert torch.equal(after[head], before[head]) == (name == off)


# -- data -----------------------------------------------------------------------------------------


def test_docstrings_are_cut_out_of_their_functions_only():
    code = 'def f(x):\n    """Add one.\n\n    And more."""\n    return x + 1'
    assert without_docstring(code, "Add one.") == "def f(x):\n    return x + 1"
    assert without_docstring(code, "Something else") == code
    assert without_docstring('def f():\n    """Add one."""', "Add one.") == "def f():\n    pass"
    one_line = 'def f(): "Add one."'
    assert without_docstring(one_line, "Add one.") == one_line
    broken = 'def f(:\n    """Add one."""'
    assert without_docstring(broken, "Add one.") == broken


def test_rows_are_what_their_fields_make_them():
    code, pair, task = read_rows(
        [
            {"code": "x = 1", "path": "a.py"},
            {"code": "x = 1", "text": "one", "input": None},
            {"instruction": "Add.", "input": "1, 2", "output": "3"},
        ]
    )
    assert not code.is_pair
    assert pair.is_pair
    assert task.prompt.endswith("### Instruction:\nAdd.\n\n### Input:\n1, 2\n\n### Response:")
    assert task.response == "3"
    with pytest.raises(UserError, match="--fields code=codes"):
        read_rows([{"codes": "x"}])
    with pytest.raises(UserError, match="'text' of row 0 is a int"):
        read_rows([{"text": 3}])


def test_stages_are_those_that_there_are_data_for(tmp_path):
    def names(rows, **changes):
        method = CodeT5p.build(dataclasses.replace(Config.tiny(), **changes), data=PAIRS)
        run = Run(tmp_path / str(len(rows)), read_rows(rows), budget=Budget(22), quiet=True)
        return {stage.name: stage.budget.amount for stage in method.stages(run)}

    codes = [{"code": pair.code} for pair in PAIRS]
    tasks = [{"instruction": "Add.", "output": "3"}] * 9
    assert names(codes) == pytest.approx({"denoise": 2.0, "unimodal": 20.0})
    assert names(tasks) == {"instruct": 22.0}
    everything = names([*codes, *CodeT5p.sample_rows(), *tasks], warm_ratio=0.0)
    assert everything == {"unimodal": 11.0, "bimodal": 5.5, "instruct": 5.5}
    assert list(names(codes, objectives=("prefix",))) == ["unimodal"]
    with pytest.raises(UserError, match="nothing for bimodal"):
        names(codes[:20], stages=("bimodal",))


def test_every_task_has_a_token_of_its_own(method):
    ids = task_ids(method.tokenizer)
    assert len(set(ids.values())) == len(TASK_TOKENS)
    assert len(method.tokenizer) == method.network.get_input_embeddings().num_embeddings


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(UserError, match="objective"):
        Config(contrastive=False, matching=False, generation=False)
    with pytest.raises(UserError, match="momentum"):
        Config(momentum=1.0)
    with pytest.raises(UserError, match="220m"):
        Config.paper("16b")
    assert "temperature" in inspect.signature(Config).parameters
