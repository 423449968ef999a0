"""A prefix decoder that is exported gives our numbers by what its model card says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pretrial import discover
from pretrial.cli import main
from pretrial.convert.export import export_gguf, export_model
from pretrial.corrupt.denoisers import Pair
from pretrial.errors import UserError

RECORD = {
    "config": {}, "arguments": {"data": "t.jsonl", "init": ""}, "num_examples": 1,
    "num_held_out": 0, "environment": {}, "commit": "",
}  # fmt: skip
ASKED = """
import json, sys
pairs = json.loads(sys.argv[1])
rows = []
for text, target in pairs:
    prompt = prompt_ids(text)
    found = logits(prompt, target)[0]
    nll = -found[len(prompt) - 1 : -1].log_softmax(-1)[range(len(target)), target]
    plain = model(torch.tensor([[*prompt, *target]])).logits[0]
    rows.append({
        "nll": nll.tolist(),
        "causal_gap": float((plain - found)[len(prompt) - 1 :].abs().max()),
        "written": write(prompt, max_new_tokens=8, do_sample=False),
    })
print(json.dumps({"rows": rows, "ours": "pretrial" in sys.modules}))
"""


def made(slug: str, **changes: Any) -> Any:
    loaded = discover.load(slug)
    torch.manual_seed(0)
    config = replace(loaded.config.tiny(), architecture="prefix_decoder", **changes)
    examples = loaded.method.read(loaded.method.sample_rows())
    return loaded.method.build(config, data=examples).eval()


def by_the_card(folder: Path, pairs: list[tuple[str, list[int]]]) -> dict[str, Any]:
    """What the code of the model card gives in a process of its own."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S))
    done = subprocess.run(
        [sys.executable, "-c", code + ASKED, json.dumps(pairs)],
        cwd=folder, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("slug", "changes"),
    [
        ("architecture_objective", {"objective": "prefix_lm"}),
        ("architecture_objective", {"objective": "masked_lm", "separator": True}),
        ("architecture_objective", {"objective": "prefix_lm", "positions": "relative"}),
        ("ul2", {}),
    ],
    ids=["rotary", "separator", "relative", "ul2"],
)
def test_the_recipe_of_the_card_gives_our_numbers(
    slug: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    method = made(slug, **changes)
    usage = export_model(method, tmp_path / "out", discover.find(slug).card, RECORD)
    assert "prefix_mask" in usage
    texts = ["Return the list of all", "Print a file and then look at each name, and at"]
    pairs = [(text, [40 + number, 50, 61, 44]) for number, text in enumerate(texts)]
    found = by_the_card(tmp_path / "out", pairs)
    assert found["ours"] == (changes.get("positions") == "relative")
    ids = method.ids_of(texts, 40)
    wanted = method.language_model.nll(
        [Pair(read, target) for read, (_, target) in zip(ids, pairs, strict=True)]
    )
    prompts = [method.language_model.prompt(read) for read in ids]
    written = method.language_model.write(prompts, max_new_tokens=8)
    for row, nll, (own,) in zip(found["rows"], wanted, written, strict=True):
        torch.testing.assert_close(torch.tensor(row["nll"]), nll, rtol=1e-5, atol=1e-5)
        theirs = row["written"]
        end = method.tokenizer.eos_token_id
        assert (theirs[: theirs.index(end)] if end in theirs else theirs) == own
        assert row["causal_gap"] > 1e-3  # the mask matters


def test_causal_decoders_need_no_recipe_and_the_command_tells_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": f"A list of {n} names, and what stands in it."} for n in range(20)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name, architecture, objective in (
        ("cd", "causal_decoder", "full_lm"),
        ("nd", "prefix_decoder", "prefix_lm"),
    ):
        main(
            f"train architecture_objective --data {tmp_path}/t.jsonl --tiny --budget 1steps"
            f" --architecture {architecture} --objective {objective}"
            f" --out {tmp_path}/{name}".split()
        )
        capsys.readouterr()
        main(f"export {tmp_path}/{name} --to {tmp_path}/{name}-out".split())
        told = " ".join(capsys.readouterr().out.split())
        assert ("README.md says how it is used" in told) == (name == "nd")
        assert ("prefix_mask" in (tmp_path / f"{name}-out/README.md").read_text()) == (name == "nd")


def test_a_gguf_file_of_a_prefix_decoder_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    with pytest.raises(UserError, match="see each other"):
        export_gguf(made("ul2"), tmp_path / "m.gguf", 8)
