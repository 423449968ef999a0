"""Exports in a process without pretrial: plain libraries, and the code that goes with a model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

from pretrial import discover
from pretrial.check.trained import made_inputs
from pretrial.convert.export import export_model
from pretrial.convert.remote_code import is_ours, source_of
from pretrial.convert.snippets import use_of
from pretrial.methods.text.polycom.network.language_model import PolyOlmoeForCausalLM
from pretrial.methods.text.return_of_encoder.network.mu import MuForCausalLM
from pretrial.methods.text.yi.network.llava import YiLlava
from pretrial.models.architectures.t5_decoder import T5Decoder

RECORD = {
    "slug": "",
    "config": {},
    "arguments": {"data": "t.jsonl", "init": "", "seed": 0, "budget": "1steps"},
    "num_examples": 1,
    "num_held_out": 1,
    "environment": {"torch": "2"},
    "commit": "",
}
TEXTS = ["a list of names", "what is in the list, and what is not"]

WITHOUT_PRETRIAL = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "pretrial":
            raise ModuleNotFoundError("No module named 'pretrial'")
sys.meta_path.insert(0, Blocked())
"""
ANSWERS = """
import torch, transformers
for auto, folder in zip(sys.argv[1::2], sys.argv[2::2]):
    inputs = torch.load(f"{folder}/inputs.pt", weights_only=True)
    model = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True).eval()
    with torch.no_grad():
        torch.save(model(**inputs)[0], f"{folder}/answers.pt")
"""
VECTORS = """
import json, torch
from sentence_transformers import SentenceTransformer
texts = json.loads(sys.argv[1])
for folder in sys.argv[2:]:
    model = SentenceTransformer(folder, trust_remote_code=True, device="cpu")
    torch.save(torch.tensor(model.encode(texts)), f"{folder}/vectors.pt")
"""
SNIPPETS = """
import os
for folder in sys.argv[1:]:
    code = open(f"{folder}/snippet.py").read()
    os.chdir(folder if 'folder = "."' in code else os.path.dirname(folder))
    exec(code, {})
"""


def exported(slug: str, folder: Path, **more: Any) -> Any:
    loaded = discover.load(slug)
    torch.manual_seed(0)
    examples = loaded.method.read(loaded.method.sample_rows())
    method = loaded.method.build(loaded.config.tiny(), data=examples)
    with torch.no_grad():
        for weight in method.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    method.eval()
    export_model(method, folder, loaded.card, {**RECORD, "slug": slug}, **more)
    return method


def elsewhere(code: str, *words: object, tmp_path: Path) -> str:
    """What a process prints that cannot import pretrial."""
    environment = {**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "PYTHONPATH": ""}
    command = [sys.executable, "-c", WITHOUT_PRETRIAL + code, *map(str, words)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout


def test_the_code_of_our_own_architectures_goes_with_them(tmp_path: Path) -> None:
    wanted, words = {}, []
    for slug in ("mosaicbert", "polycom", "return_of_encoder", "never_from_scratch"):
        folder = tmp_path / slug
        model = exported(slug, folder).export().eval()
        assert is_ours(type(model))
        config = json.loads((folder / "config.json").read_text())
        [code] = folder.glob("modeling_*.py")
        assert all(value.startswith(code.stem) for value in config["auto_map"].values())
        # where pretrial is, its own class is taken, and no code of the folder runs
        assert type(type(model).from_pretrained(folder)) is type(model)
        inputs = made_inputs(model) if model.config.vocab_size else {"inputs": torch.rand(2, 9, 1)}
        torch.save(inputs, folder / "inputs.pt")
        with torch.no_grad():
            wanted[folder] = model(**inputs)[0]
        words += [use_of(model).auto or "AutoModel", folder]
    elsewhere(ANSWERS, *words, tmp_path=tmp_path)
    for folder, answer in wanted.items():
        found = torch.load(folder / "answers.pt", weights_only=True)
        torch.testing.assert_close(found, answer, rtol=1e-5, atol=1e-5)


def test_the_code_of_any_of_our_classes_stands_alone(tmp_path: Path) -> None:
    lines = ["sys.path.insert(0, sys.argv[1])"]
    for kind in (PolyOlmoeForCausalLM, MuForCausalLM, YiLlava, T5Decoder):
        text = source_of(kind.config_class, kind)
        assert not re.search(r"^\s*(from|import) pretrial", text, re.MULTILINE)
        (tmp_path / f"of_{kind.__name__}.py").write_text(text)
        lines.append(f"import of_{kind.__name__} as code; assert code.{kind.__name__}")
    elsewhere("\n".join(lines), tmp_path, tmp_path=tmp_path)


def test_sentence_transformers_reads_the_same_folder(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    slugs = ("mlm", "electra", "drbert", "mosaicbert", "contrabert")
    methods = {tmp_path / slug: exported(slug, tmp_path / slug) for slug in slugs}
    elsewhere(VECTORS, json.dumps(TEXTS), *methods, tmp_path=tmp_path)
    for folder, method in methods.items():
        found = torch.load(folder / "vectors.pt", weights_only=True)
        torch.testing.assert_close(found, method.encode(TEXTS), rtol=1e-5, atol=1e-5)


def test_an_encoder_that_needs_a_reader_of_its_own_is_none_of_sentence_transformers(
    tmp_path: Path,
) -> None:
    exported("unixcoder", tmp_path / "model")
    assert not (tmp_path / "model" / "modules.json").exists()


def test_the_snippet_of_a_card_runs(tmp_path: Path) -> None:
    metrics, folders = {"loss": 1.25, "roc_auc": 0.5}, []
    for slug in ("mlm", "mosaicbert", "polycom", "codet5", "mae", "yi"):
        folder = tmp_path / slug
        exported(slug, folder, metrics=metrics, licence="apache-2.0")
        card = ModelCard.load(folder / "README.md")
        assert card.data.license == "apache-2.0"
        assert card.data.library_name == "transformers"
        assert {r.metric_type: r.metric_value for r in card.data.eval_results} == metrics
        assert "| loss | 1.25 |" in card.text
        snippets = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
        assert len(snippets) == 1
        (folder / "snippet.py").write_text(snippets[0])
        folders.append(folder)
    assert elsewhere(SNIPPETS, *folders, tmp_path=tmp_path)
