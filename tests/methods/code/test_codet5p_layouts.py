"""Checkpoints in the layouts of the public ones, and two processes."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

from pretrial.errors import UserError
from pretrial.methods.code.codet5p import CodeT5p, Config
from pretrial.methods.code.codet5p.network.t5 import TASK_TOKENS, task_ids
from pretrial.models.tokenizers import ROBERTA_SPECIALS, learn_bpe
from pretrial.train.budget import Budget
from pretrial.train.checkpoint import read_tensors
from pretrial.train.loop import train
from pretrial.train.run import Run

PAIRS = CodeT5p.read(CodeT5p.sample_rows())
IDS = torch.tensor([[1, 40, 41, 42, 2], [1, 43, 44, 45, 2]])


@pytest.fixture
def tokenizer():
    """One without the task tokens, as CodeT5 has it."""
    texts = [pair.code for pair in PAIRS]
    return learn_bpe(
        texts, 400, num_sentinels=20, specials=ROBERTA_SPECIALS, template="<s> $A </s>"
    )


def sizes(tokenizer, **more):
    return T5Config(
        vocab_size=len(tokenizer), d_model=24, d_kv=12, d_ff=48, num_layers=2, num_heads=2,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=0, **more,
    )  # fmt: skip


def renamed(folder: Path, model_type: str, **values) -> None:
    """Gives a saved config the model type that the hub's own class has."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"model_type": model_type} | values
    path.write_text(json.dumps(config))


def test_plain_t5_gives_the_same_logits(tokenizer, tmp_path):
    plain = T5ForConditionalGeneration(sizes(tokenizer)).eval()
    plain.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    method = CodeT5p.build(Config.tiny(), source=tmp_path).eval()
    assert method.config.width == 24
    assert set(task_ids(method.tokenizer)) == set(TASK_TOKENS)  # they were added
    with torch.no_grad():
        wanted = plain(input_ids=IDS, decoder_input_ids=IDS).logits
        found = method.network(input_ids=IDS, decoder_input_ids=IDS).logits
    torch.testing.assert_close(found[..., : wanted.shape[-1]], wanted, atol=1e-5, rtol=1e-5)


def test_bimodal_layout_comes_with_its_heads_and_goes_as_it_came(tokenizer, tmp_path):
    network = T5ForConditionalGeneration(sizes(tokenizer)).eval()
    network.proj, network.itm_head = nn.Linear(24, 8), nn.Linear(24, 2)
    network.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    renamed(tmp_path / "theirs", "codet5p_bimodal", embed_dim=8)
    method = CodeT5p.build(Config.tiny(), source=tmp_path / "theirs")
    assert method.config.embed_width == 8
    assert torch.equal(method.network.proj.weight, network.proj.weight)
    assert torch.equal(method.network.itm_head.bias, network.itm_head.bias)
    method.save(tmp_path / "ours")
    before = load_file(tmp_path / "theirs" / "model.safetensors")
    after = load_file(tmp_path / "ours" / "model.safetensors")
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert torch.equal(after[name][: len(weight)], weight), name


def test_embedding_layout_gives_its_vectors(tokenizer, tmp_path):
    encoder = T5EncoderModel(sizes(tokenizer)).eval()
    encoder.proj = nn.Linear(24, 8)
    encoder.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    renamed(tmp_path, "codet5p_embedding", embed_dim=8)
    method = CodeT5p.build(Config.tiny(), source=tmp_path).eval()
    ids = torch.tensor([method.tokenizer("def add(a, b):")["input_ids"]])
    with torch.no_grad():
        states = encoder(input_ids=ids).last_hidden_state[:, 0]
        wanted = nn.functional.normalize(encoder.proj(states), dim=-1)
    torch.testing.assert_close(method.encode(["def add(a, b):"]), wanted, atol=1e-5, rtol=1e-4)
    assert method.encode(["x"]).norm().item() == pytest.approx(1.0, abs=1e-5)


def test_embedding_size_is_the_published_one():
    with torch.device("meta"):
        network = CodeT5p.build(Config.paper("220m")).network
    assert sum(p.numel() for p in network.encoder.parameters()) == 109_607_040
    assert sum(p.numel() for p in network.proj.parameters()) == 768 * 256 + 256


@pytest.mark.parametrize("kind", ["torn", "other", "released", "none"])
def test_wrong_checkpoints_are_refused(tokenizer, tmp_path, kind):
    network = T5ForConditionalGeneration(sizes(tokenizer))
    network.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    match = {
        "torn": "lacks decoder.block.0",
        "other": "no T5 but a gpt2",
        "released": "frozen decoder",
        "none": "neither a folder",
    }[kind]
    source = tmp_path
    if kind == "torn":
        state = load_file(tmp_path / "model.safetensors")
        kept = {k: v for k, v in state.items() if "decoder.block.0.layer.0" not in k}
        save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    elif kind == "other":
        (tmp_path / "config.json").write_text('{"model_type": "gpt2", "n_embd": 8}')
    elif kind == "released":
        (tmp_path / "config.json").write_text('{"model_type": "codet5p", "encoder": {}}')
    else:
        source = tmp_path / "nowhere"
    with pytest.raises(UserError, match=match):
        CodeT5p.build(Config.tiny(), source=source)


_WORDS = "import sys, pathlib, test_codet5p_layouts as t; t.work(pathlib.Path(sys.argv[1]))"


def work(folder: Path) -> dict[str, torch.Tensor]:
    """Trains both stages; the weights of the second, its queues and momentum encoder."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = dataclasses.replace(Config.tiny(), micro_batch_size=4, unimodal_ratio=0.3)
    method = CodeT5p.build(config, data=PAIRS)
    train(method, Run(folder, PAIRS, budget=Budget(9), quiet=True))
    return read_tensors(folder / "stages" / "bimodal" / "done", "weights")


def test_two_processes_equal_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _WORDS, str(tmp_path / "two")],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    one = work(tmp_path / "one")
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    two = read_tensors(tmp_path / "two" / "stages" / "bimodal" / "done", "weights")
    assert one.keys() == two.keys()
    assert torch.equal(one["codes.ids"], two["codes.ids"])
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-5, msg=name)
