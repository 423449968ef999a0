"""The release's checkpoints of Mu, against a short reference with its names and its head order."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch.nn import functional as F

from pretrial.errors import UserError
from pretrial.methods.text.return_of_encoder.network.public import is_public_mu, load_public_mu

VOCABULARY, WIDTH, INNER, HEADS, KV_HEADS, HEAD = 40, 24, 32, 6, 3, 4


def made_weights(seed=0, bias=False):
    """Random weights under the release's names."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator) * 0.3

    state = {"transformer.wte.weight": draw(VOCABULARY, WIDTH)}

    def linear(name, out, inner):
        state[f"{name}.weight"], state[f"{name}.bias"] = draw(out, inner), draw(out)

    def attention(name):
        linear(f"{name}.q_linear", HEADS * HEAD, WIDTH)
        linear(f"{name}.k_linear", KV_HEADS * HEAD, WIDTH)
        linear(f"{name}.v_linear", KV_HEADS * HEAD, WIDTH)
        linear(f"{name}.out_linear", WIDTH, HEADS * HEAD)

    def mlp(name):
        linear(f"{name}.fc1", INNER, WIDTH)
        linear(f"{name}.fc2", WIDTH, INNER)

    for part, layers, norms, attentions in (
        ("e", 3, ("ln1", "ln2"), ("attn",)),
        ("h", 2, ("ln1", "ln2", "ln3"), ("causal_attn", "cross_attn")),
    ):
        for place in range(layers):
            base = f"transformer.{part}.{place}"
            for norm in norms:
                state[f"{base}.{norm}.weight"] = 1 + draw(WIDTH)
            for each in attentions:
                attention(f"{base}.{each}")
            mlp(f"{base}.mlp")
    for norm in ("ln_e", "ln_f"):
        state[f"transformer.{norm}.weight"] = 1 + draw(WIDTH)
    state["lm_head.weight"] = state["transformer.wte.weight"].clone()
    if bias:
        state["lm_head.bias"] = draw(VOCABULARY)
    return state


class Reference:
    """Mu by its equations: heads tiled over key/value heads, the encoder's positions centred."""

    def __init__(self, state, tiled=True):
        self.state, self.tiled = state, tiled

    def linear(self, name, x):
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, name, x):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * self.state[f"{name}.weight"]

    def turn(self, x, first):
        places = torch.arange(first, first + x.shape[2]).float()
        angles = places[:, None] / 10_000 ** (torch.arange(0, HEAD, 2) / HEAD)
        whole = torch.complex(*x.chunk(2, -1)) * torch.polar(torch.ones_like(angles), angles)
        return torch.cat([whole.real, whole.imag], -1)

    def attention(self, name, x, y, allowed, first=None):
        def heads(part, rows, number):
            return self.linear(f"{name}.{part}_linear", rows).unflatten(-1, (number, HEAD)).mT.mT

        query = heads("q", x, HEADS).transpose(1, 2)
        key, value = (heads(part, y, KV_HEADS).transpose(1, 2) for part in "kv")
        if first is not None:
            query, key = self.turn(query, first), self.turn(key, first)
        found = []
        for head in range(HEADS):
            own = head % KV_HEADS if self.tiled else head // (HEADS // KV_HEADS)
            scores = query[:, head] @ key[:, own].mT / math.sqrt(HEAD)
            found.append(scores.masked_fill(~allowed, -1e30).softmax(-1) @ value[:, own])
        return self.linear(f"{name}.out_linear", torch.cat(found, -1))

    def mlp(self, name, x):
        x = self.linear(f"{name}.fc1", x)
        x = x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return self.linear(f"{name}.fc2", x)

    def logits(self, ids, answer):
        embed = self.state["transformer.wte.weight"]
        real = (ids != 0)[:, None]
        x = embed[ids]
        for place in range(3):
            base = f"transformer.e.{place}"
            y = self.norm(f"{base}.ln1", x)
            x = x + self.attention(f"{base}.attn", y, y, real, -((ids.shape[1] - 1) // 2))
            x = x + self.mlp(f"{base}.mlp", self.norm(f"{base}.ln2", x))
        memory = self.norm("transformer.ln_e", x)
        x = embed[answer]
        before = torch.ones(answer.shape[1], answer.shape[1]).tril().bool()[None]
        for place in range(2):
            base = f"transformer.h.{place}"
            y = self.norm(f"{base}.ln1", x)
            x = x + self.attention(f"{base}.causal_attn", y, y, before, 0)
            y = self.norm(f"{base}.ln2", x)
            x = x + self.attention(f"{base}.cross_attn", y, memory, real)
            x = x + self.mlp(f"{base}.mlp", self.norm(f"{base}.ln3", x))
        logits = self.norm("transformer.ln_f", x) @ embed.T
        return logits + self.state.get("lm_head.bias", 0)


IDS = torch.tensor([[5, 9, 31, 7, 0, 0], [3, 8, 8, 12, 39, 2]])
ANSWER = torch.tensor([[1, 4, 6], [1, 30, 2]])


@torch.no_grad()
def test_same_weights_give_the_same_logits(tmp_path):
    state = made_weights()
    path = tmp_path / "model.pt"
    torch.save({"model_state_dict": state, "step": 3}, path)
    assert is_public_mu(path)
    assert is_public_mu(tmp_path)
    model = load_public_mu(path, head_dim=HEAD)
    logits = model(IDS, (IDS != 0).long(), ANSWER).logits
    torch.testing.assert_close(logits, Reference(state).logits(IDS, ANSWER), rtol=1e-4, atol=1e-4)
    # the order of heads is told by the logits
    wrong = Reference(state, tiled=False).logits(IDS, ANSWER)
    assert (logits - wrong).abs().max() > 1e-2


@torch.no_grad()
def test_a_config_beside_the_weights_tells_heads_and_their_order(tmp_path):
    state = made_weights(1, bias=True)
    torch.save(state, tmp_path / "pytorch_model.bin")
    told = {"n_embd": WIDTH, "n_head": HEADS, "n_kv_head": KV_HEADS, "is_interleaved": True}
    (tmp_path / "config.json").write_text(json.dumps(told))
    model = load_public_mu(tmp_path)
    assert model.config.head_dim == HEAD
    expected = Reference(state, tiled=False).logits(IDS, ANSWER)
    logits = model(IDS, (IDS != 0).long(), ANSWER).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_what_is_no_mu_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(UserError, match="no checkpoint of Mu"):
        load_public_mu(tmp_path)
    state = made_weights()
    del state["transformer.h.1.ln3.weight"]
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"decoder\.layers\.1\.mlp_norm"):
        load_public_mu(tmp_path, head_dim=HEAD)


def test_a_folder_of_our_own_is_not_the_release(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mu"}))
    (tmp_path / "training.pt").touch()
    assert not is_public_mu(tmp_path)
