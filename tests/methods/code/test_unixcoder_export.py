"""A UniXcoder that is exported writes by what its model card says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import torch

from pretrial.convert.export import export_model
from pretrial.methods.code.unixcoder import CARD, Config, UniXcoder
from pretrial.methods.code.unixcoder.network import logits_of, states_of

RECORD = {
    "config": {}, "arguments": {"data": "t.jsonl", "init": ""}, "num_examples": 1,
    "num_held_out": 0, "environment": {}, "commit": "",
}  # fmt: skip
CODE = UniXcoder.sample_rows()[0]["code"]
ASKED = f"""
import json, sys
assert "pretrial" not in sys.modules
code = {CODE!r}
target = [300, 310, 320]
print(json.dumps({{
    "causal": logits(read_on(code), target, False).tolist(),
    "prefix": logits(read_to_describe(code), target, True).tolist(),
    "completed": write(read_on(code), together=False, max_new_tokens=6),
    "described": write(read_to_describe(code), together=True, max_new_tokens=6),
}}))
"""


@torch.no_grad()
def test_the_recipe_of_the_card_gives_our_numbers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    examples = UniXcoder.read(UniXcoder.sample_rows())
    method = UniXcoder.build(Config.tiny(), data=examples).eval()
    export_model(method, tmp_path / "out", CARD, RECORD)
    text = (tmp_path / "out/README.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.S))
    done = subprocess.run(
        [sys.executable, "-c", code + ASKED], cwd=tmp_path / "out", capture_output=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"}, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    ids, sampler, target = method.tokens.ids_of(CODE), method.sampler, [300, 310, 320]
    for pattern, source in (
        ("causal", [*sampler.prefix("<decoder-only>"), *ids]),
        ("prefix", sampler.described(ids)),
    ):
        row = torch.tensor([[*source, *target]])
        lengths = torch.tensor([len(source)]) if pattern == "prefix" else None
        states = states_of(method.network, row, torch.ones_like(row).bool(), pattern, lengths)
        wanted = logits_of(method.network, states[0])
        torch.testing.assert_close(torch.tensor(found[pattern]), wanted, rtol=1e-4, atol=1e-5)
    how = {"num_beams": 1, "max_new_tokens": 6}
    assert found["completed"] == next(iter(method.complete([CODE], **how)))["text"]
    assert found["described"].strip() == next(iter(method.summarise([CODE], **how)))["text"]
