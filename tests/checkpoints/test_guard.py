"""Checkpoints from strangers: nothing in them is run, and what is wrong is told in one sentence."""

from __future__ import annotations

import ast
import contextlib
import json
import pickle
import re
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

import pretrial
from pretrial import cli
from pretrial.checkpoints import guard
from pretrial.checkpoints.gguf import load_gguf
from pretrial.checkpoints.keys import (
    architecture,
    load_config,
    load_pretrained,
    load_strict,
    load_tokenizer,
    read_weights,
)
from pretrial.checkpoints.pretrained import load_generator
from pretrial.errors import UserError

SMALL = {"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 11, "n_positions": 16}
QUICK = settings(derandomize=True, deadline=None, max_examples=60, database=None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    GPT2LMHeadModel(GPT2Config(**SMALL, bos_token_id=1, eos_token_id=1)).save_pretrained(tmp_path)
    return tmp_path


def with_config(folder: Path, **changes: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


class Attack:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, (str(self.path), "w")  # type: ignore[return-value]


@pytest.mark.parametrize("save_as", ["torch", "pickle"])
def test_a_malicious_pickle_is_refused_and_not_run(folder, tmp_path, save_as):
    made = tmp_path / "attacked"
    (folder / "model.safetensors").unlink()
    weights = folder / "pytorch_model.bin"
    if save_as == "torch":
        torch.save({"transformer.wte.weight": Attack(made)}, weights)
    else:
        weights.write_bytes(pickle.dumps(Attack(made), protocol=2))
    for read in (
        lambda: load_pretrained(GPT2LMHeadModel, folder),
        lambda: load_generator(folder),
        lambda: read_weights(folder),
    ):
        with pytest.raises(UserError, match=r"a pickle that is more than weights.*safetensors"):
            read()
    assert not made.exists()
    pickle.loads(pickle.dumps(Attack(made))).close()
    assert made.exists()  # it would have done it


def test_a_pickle_of_something_else_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "weights.pt")
    with pytest.raises(UserError, match="no weights by name"):
        read_weights(tmp_path)
    torch.save({"epoch": 3}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"more than weights \(epoch\)"):
        load_strict(torch.nn.Linear(1, 1), read_weights(tmp_path), tmp_path)


def header(text: object, rest: bytes = b"") -> bytes:
    data = json.dumps(text).encode()
    return struct.pack("<Q", len(data)) + data + rest


HEADERS = {
    "empty": b"",
    "short": b"\1\2",
    "longer than the file": struct.pack("<Q", 99_000_000) + b"{}",
    "absurd length": struct.pack("<Q", 1 << 62) + b"{}",
    "absurd shape": header({"w": {"dtype": "F32", "shape": [1 << 40, 1 << 20],
                                  "data_offsets": [0, 1 << 60]}}),
    "huge shape": header({"w": {"dtype": "F32", "shape": [1 << 40],
                                "data_offsets": [0, 1 << 42]}}, b"1234"),
    "negative shape": header({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [-4, 0]}}),
    "beyond the end": header({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"12"),
    "overlapping": header({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
                           for name in "ab"}, b"1234"),
    "a list": header([]),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_an_absurd_header_of_safetensors_is_refused(folder, name):
    (folder / "model.safetensors").write_bytes(HEADERS[name])
    for read in (lambda: load_pretrained(GPT2LMHeadModel, folder), lambda: read_weights(folder)):
        with pytest.raises(UserError, match=r"cannot be read .*broken or cut off"):
            read()


@QUICK
@given(st.data())
def test_any_damage_to_weights_is_told(tmp_path_factory, data):
    good = bytearray(save({"a": torch.arange(4.0), "b": torch.ones(2, 2)}))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(good) - 1))
        good[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path = tmp_path_factory.mktemp("damage") / "w.safetensors"
    path.write_bytes(good)
    try:
        found = read_weights(path)
    except UserError:
        return
    assert sum(tensor.nbytes for tensor in found.values()) <= len(good)


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "", 3, None]
)
def test_an_index_that_leads_out_of_its_folder_is_refused(folder, name):
    inner = folder / "inner"
    inner.mkdir()
    (folder / "config.json").rename(inner / "config.json")
    keys = GPT2LMHeadModel(GPT2Config(**SMALL)).state_dict()
    index = {"metadata": {}, "weight_map": dict.fromkeys(keys, name)}
    (inner / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="not one of its own folder"):
        load_pretrained(GPT2LMHeadModel, inner)


@pytest.mark.parametrize("text", ["[]", "{}", '{"weight_map": 3}', "not JSON", "[" * 100_000])
def test_a_broken_index_is_told(folder, text):
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(UserError, match="no index of weights"):
        load_pretrained(GPT2LMHeadModel, folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_layer": 10**6}, "asks for 1000000 layers"),
        ({"vocab_size": 10**9}, "matrices of 1000000000 x 8,"),
        ({"n_embd": 10**5}, "matrices of 100000 x 100000,"),
        ({"n_embd": "wide"}, "cannot be read"),
        ({"n_embd": -3}, "cannot be read"),
        ({"n_head": 0}, "cannot be read"),
        ({"n_embd": None}, "cannot be read"),
        ({"model_type": ["gpt2"]}, "cannot be read"),
        ({"dtype": "evil"}, "cannot be read"),
        ({"model_type": "nothing"}, "cannot be read"),
    ],
)
def test_an_absurd_config_is_refused_before_memory_is_taken(folder, changes, message):
    with_config(folder, **changes)
    with pytest.raises(UserError, match=message):
        load_generator(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


OPTIONS = [*SMALL, "model_type", "architectures", "auto_map", "dtype", "id2label", "initializer"]


@QUICK
@given(st.dictionaries(st.sampled_from(OPTIONS), JSON) | JSON)
def test_any_config_is_read_or_told(tmp_path_factory, value):
    folder = tmp_path_factory.mktemp("config")
    base = {"model_type": "gpt2", **SMALL}
    (folder / "config.json").write_text(
        json.dumps({**base, **value} if isinstance(value, dict) else value)
    )
    assert isinstance(architecture(folder), str)
    with contextlib.suppress(UserError):
        load_config(folder)


@pytest.mark.parametrize(
    ("name", "text"),
    [("tokenizer_config.json", "[]"), ("tokenizer.json", "{}"), ("tokenizer.json", "\ud800")],
)
def test_a_broken_tokenizer_is_told(folder, name, text):
    (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError, match="tokenizer"):
        load_tokenizer(folder)


@pytest.mark.parametrize(
    "content", [b"", b"GGUF", b"GGUF" + bytes(100), b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1)]
)
def test_a_broken_gguf_file_is_told(tmp_path, content):
    pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        load_gguf(path)


# --- code -----------------------------------------------------------------------------------------

CODE = """
from pathlib import Path
from transformers import GPT2Config, GPT2LMHeadModel

Path(__file__ + ".ran").touch()


class OwnConfig(GPT2Config):
    model_type = "own"


class OwnModel(GPT2LMHeadModel):
    config_class = OwnConfig
"""


@pytest.fixture
def with_code(folder, monkeypatch, tmp_path_factory):
    """A checkpoint whose classes are its own."""
    cache = tmp_path_factory.mktemp("modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(cache))
    monkeypatch.delenv(guard.VARIABLE, raising=False)
    (folder / "own.py").write_text(CODE)
    names = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    return with_config(folder, model_type="own", auto_map=names), cache


def test_code_of_a_checkpoint_is_refused_with_the_flag_that_allows_it(with_code, monkeypatch):
    folder, cache = with_code
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is asked"))
    for read in (
        lambda: load_config(folder),
        lambda: load_generator(folder),
        lambda: load_pretrained(AutoModelForCausalLM, folder),
    ):
        with pytest.raises(UserError, match=f"code of its own, which is not run.*{guard.FLAG}"):
            read()
    assert not list(cache.rglob("*.ran"))


def test_the_flag_allows_it(with_code, monkeypatch, capsys):
    folder, cache = with_code
    monkeypatch.setenv(guard.VARIABLE, "0")  # so that it is as it was after the test
    assert cli.main(["--version", guard.FLAG]) == 0
    assert type(load_pretrained(AutoModelForCausalLM, folder)).__name__ == "OwnModel"
    assert list(cache.rglob("*.ran"))


def test_a_tokenizer_with_code_is_refused(folder, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is asked"))
    (folder / "own.py").write_text("raise SystemExit('run')")
    settings = {"auto_map": {"AutoTokenizer": ["own.Own", None]}, "tokenizer_class": "Own"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with_config(folder, model_type="own")
    with pytest.raises(UserError):
        load_tokenizer(folder)


def _reads_a_checkpoint(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    auto = re.fullmatch(r"Auto\w+\.from_pretrained", name)
    return auto is not None or name in ("torch.load", "pickle.load", "pickle.loads")


def test_checkpoints_are_read_here_only():
    # What reads a checkpoint elsewhere would ask the user whether to run code, or raise anything.
    source = Path(pretrial.__file__).parent
    found = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _reads_a_checkpoint(node)
    }
    assert found == {"checkpoints/keys.py", "checkpoints/gguf.py"}
