"""CodeT5+ beside a frozen decoder, and the released models of that kind."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    CodeGenConfig,
    CodeGenForCausalLM,
    CodeGenModel,
    GPT2Config,
    GPT2LMHeadModel,
)

from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.methods.code.codet5p import CodeT5p, Config
from pretrial.methods.code.codet5p.network.frozen import beside_decoder
from pretrial.models.tokenizers import learn_bpe
from pretrial.train.budget import Budget
from pretrial.train.checkpoint import frozen_prefixes, weights_of
from pretrial.train.loop import train
from pretrial.train.run import Run

ROWS = [
    *CodeT5p.sample_rows(),
    *({"instruction": f"Add {n}.", "input": f"{n} and 1", "output": f"{n} + 1"} for n in range(10)),
]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    """The folder of a GPT-2 with a tokenizer."""
    folder = tmp_path_factory.mktemp("decoder")
    tokenizer = learn_bpe((row.get("code", "") for row in ROWS), 400)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=24, n_layer=3, n_head=4, n_positions=200,
        bos_token_id=1, eos_token_id=1, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def config(decoder):
    return dataclasses.replace(Config.tiny(), decoder=str(decoder), half_decoder=False)


def test_only_encoder_bridge_and_projection_learn(config, tmp_path):
    torch.manual_seed(0)
    data = CodeT5p.read(ROWS)
    method = CodeT5p.build(config, data=data)
    before = {k: v.clone() for k, v in method.network.frozen.state_dict().items()}
    started = {k: v.clone() for k, v in weights_of(method).items()}
    width, ours = 24, config.width
    encoder = sum(p.numel() for p in method.network.encoder.parameters())
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    assert trained == encoder + 4 * width**2 + ours * width + width
    train(method, Run(tmp_path, data, budget=Budget(6), quiet=True))
    for name, weight in method.network.frozen.state_dict().items():
        assert torch.equal(weight, before[name]), name
    assert not any(name.startswith(frozen_prefixes(method)) for name in started)
    moved = {k for k, v in weights_of(method).items() if not torch.equal(v, started[k])}
    assert {name.split(".")[2] for name in moved} == {"encoder", "bridge"}


def test_zeroed_bridge_is_the_bare_model(config):
    beside = beside_decoder(config).eval()
    batch = beside.batch([("add one", "return one")], torch.Generator())
    states = beside.read(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    torch.nn.init.zeros_(beside.cross[0].out_proj.weight)
    bare = beside.frozen["decoder"](batch["decoder_input_ids"]).logits
    found = beside((states,), batch["attention_mask"], batch["decoder_input_ids"]).logits
    torch.testing.assert_close(found, bare, atol=1e-6, rtol=0)


def test_the_loss_is_on_the_response_only(config):
    beside = beside_decoder(config)
    (example,) = CodeT5p.read(ROWS[-1:])
    pair = (example.prompt, example.response)
    batch = beside.batch([pair, ("x", "a")], torch.Generator())
    labels, tokenizer = batch["labels"], beside.tokenizer
    kept = labels[0][labels[0] != IGNORE].tolist()
    assert tokenizer.decode(kept[:-1]) == "9 + 1"
    assert kept[-1] == tokenizer.eos_token_id
    num_prompt = int(batch["attention_mask"][0].sum())
    assert (labels[0, :num_prompt] == IGNORE).all()
    assert (
        batch["decoder_input_ids"][0, 1 : num_prompt + 1].tolist() == batch["input_ids"][0].tolist()
    )
    assert batch["counts"]["targets"] == float((labels != IGNORE).sum())


@pytest.mark.parametrize("half", [False, True])
def test_greedy_writing_equals_step_by_step(config, half):
    beside = beside_decoder(dataclasses.replace(config, half_decoder=half)).eval()
    prompts = ["def add(", "def multiply_width(width, other)"]
    written = beside.write(prompts, max_new_tokens=5)
    for prompt, (text,) in zip(prompts, written, strict=True):
        ids = torch.tensor([beside.tokenizer(prompt, add_special_tokens=False)["input_ids"]])
        real = torch.ones_like(ids)
        states = beside.read(ids, real).last_hidden_state
        row = torch.cat([torch.tensor([[beside.config.decoder_start_token_id]]), ids], dim=1)
        for _ in range(5):
            best = beside((states,), real, row).logits[:, -1].argmax(-1)
            if int(best) == beside.tokenizer.eos_token_id:
                break
            row = torch.cat([row, best[:, None]], dim=1)
        wanted = beside.tokenizer.decode(row[0, 1 + ids.shape[1] :], skip_special_tokens=True)
        assert text == wanted or half  # in bfloat16 two tokens may be equally probable


def test_saved_and_built_again_it_writes_the_same(config, tmp_path):
    method = CodeT5p.build(config, data=CodeT5p.read(ROWS))
    method.save(tmp_path)
    again = CodeT5p.build(config, source=tmp_path)
    queries = CodeT5p.read([{"text": "Add the width."}])
    assert list(again.generate(queries)) == list(method.generate(queries))
    with pytest.raises(UserError, match="without --decoder"):
        again.encode(["x"])
    with pytest.raises(UserError, match="without --decoder"):
        list(again.complete(CodeT5p.read([{"code": "def f("}])))


def test_a_decoder_that_is_none_is_refused(config, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        beside_decoder(dataclasses.replace(config, decoder=str(tmp_path / "nowhere")))
    whole = CodeT5p.build(Config.tiny(), data=CodeT5p.read(ROWS))
    whole.save(tmp_path / "whole")
    with pytest.raises(UserError, match="encoder of its own"):
        beside_decoder(dataclasses.replace(config, decoder=str(tmp_path / "whole")))


def attention(query, key, value, mask=None):
    scores = query @ key.T / math.sqrt(len(query[0]))
    return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1) @ value


def turned(rows, dim):
    """GPT-J's rotary positions, number by number."""
    rows = rows.clone()
    for place, row in enumerate(rows):
        for pair in range(dim // 2):
            angle = place / 10_000 ** (2 * pair / dim)
            one, other = float(row[2 * pair]), float(row[2 * pair + 1])
            row[2 * pair] = one * math.cos(angle) - other * math.sin(angle)
            row[2 * pair + 1] = other * math.cos(angle) + one * math.sin(angle)
    return rows


def heads_of(weight, num_heads, blocks=4):
    """Query, value and key of each head [width / heads, width], as CodeGen lays them out."""
    kinds = len(weight) // weight.shape[1]
    parts = weight.view(blocks, kinds, -1, weight.shape[1])
    return [parts[:, kind].reshape(num_heads, -1, weight.shape[1]) for kind in range(kinds)]


def attend(inputs, reads, weights, heads, dim, causal):
    """Attention of `inputs` to `reads`, head by head, and without the last projection."""
    mask = torch.ones(len(inputs), len(reads), dtype=torch.bool)
    found = [
        attention(
            turned(inputs @ q.T, dim), turned(reads @ k.T, dim), reads @ v.T,
            mask.tril() if causal else mask,
        )
        for q, v, k in zip(*weights, strict=True)
    ]  # fmt: skip
    assert len(found) == heads
    return torch.cat(found, dim=-1)


def block(state, prefix, hidden, dim, heads, causal, states=None):
    """One layer of the released class, written from its equations, for one sequence [T, d]."""

    def get(name):
        return state[prefix + name]

    def linear(name, x):
        return x @ get(f"{name}.weight").T + get(f"{name}.bias")

    normed = torch.nn.functional.layer_norm(
        hidden, hidden.shape[-1:], get("ln_1.weight"), get("ln_1.bias"), 1e-5
    )
    own = heads_of(get("attn.qkv_proj.weight"), heads)
    total = attend(normed, normed, own, heads, dim, causal) @ get("attn.out_proj.weight").T
    if states is not None:
        query = get("crossattention.q_attn.weight").view(heads, -1, hidden.shape[-1])
        value, key = heads_of(get("crossattention.qkv_proj.weight"), heads)
        read = attend(normed, states, (query, value, key), heads, dim, False)
        total = total + read @ get("crossattention.out_proj.weight").T
    inner = torch.nn.functional.gelu(linear("mlp.fc_in", normed), approximate="tanh")
    return hidden + total + linear("mlp.fc_out", inner)


def test_released_layout_gives_the_logits_of_its_equations(tmp_path):
    sizes = {"vocab_size": 300, "n_layer": 2, "n_positions": 64, "rotary_dim": 4}
    small = {**sizes, "n_embd": 16, "n_head": 4}
    large = {**sizes, "n_embd": 32, "n_head": 8}
    torch.manual_seed(0)
    parts = {
        "encoder.": CodeGenModel(CodeGenConfig(**small)),
        "decoder.": CodeGenForCausalLM(CodeGenConfig(**large, tie_word_embeddings=False)),
    }
    state = {
        p + k: torch.randn_like(v) * 0.2
        for p, m in parts.items()
        for k, v in m.state_dict().items()
    }
    top = "decoder.transformer.h.1.crossattention."
    state |= {
        f"{top}qkv_proj.weight": torch.randn(64, 32) * 0.2,
        f"{top}q_attn.weight": torch.randn(32, 32) * 0.2,
        f"{top}out_proj.weight": torch.randn(32, 32) * 0.2,
        "enc_to_dec_proj.weight": torch.randn(32, 16) * 0.2,
        "enc_to_dec_proj.bias": torch.randn(32) * 0.2,
    }
    save_file(state, tmp_path / "model.safetensors")
    config = {"model_type": "codet5p", "encoder": small, "decoder": large}
    (tmp_path / "config.json").write_text(json.dumps(config))
    learn_bpe(["def f(): pass"], 300).save_pretrained(tmp_path)
    ours = dataclasses.replace(Config.tiny(), decoder=str(tmp_path), half_decoder=False)
    beside = beside_decoder(ours).eval()

    source, target = torch.randint(0, 300, (2, 9))[:, :7], torch.randint(0, 300, (2, 5))
    real = torch.ones_like(source)
    with torch.no_grad():
        states = beside.read(source, real).last_hidden_state
        found = beside((states,), real, target).logits
        for row in range(2):
            hidden = state["encoder.wte.weight"][source[row]]
            for layer in range(2):
                hidden = block(state, f"encoder.h.{layer}.", hidden, 4, 4, causal=False)
            names = state["encoder.ln_f.weight"], state["encoder.ln_f.bias"]
            hidden = torch.nn.functional.layer_norm(hidden, (16,), *names, 1e-5)
            torch.testing.assert_close(states[row], hidden, atol=1e-4, rtol=1e-4)
            reads = hidden @ state["enc_to_dec_proj.weight"].T + state["enc_to_dec_proj.bias"]
            hidden = state["decoder.transformer.wte.weight"][target[row]]
            for layer in range(2):
                where = f"decoder.transformer.h.{layer}."
                hidden = block(state, where, hidden, 4, 8, True, reads if layer else None)
            names = (state[f"decoder.transformer.ln_f.{n}"] for n in ("weight", "bias"))
            hidden = torch.nn.functional.layer_norm(hidden, (32,), *names, 1e-5)
            head = state["decoder.lm_head.weight"], state["decoder.lm_head.bias"]
            wanted = hidden @ head[0].T + head[1]
            torch.testing.assert_close(found[row], wanted, atol=1e-4, rtol=1e-4)
