"""CodeRL in two processes: sampling, execution and evaluation are shared out, and nothing is done
twice. That the stages learn what one process learns is shown with all other methods.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from launched import in_processes

from pretrial.data.builtin.miniapps import mini_apps
from pretrial.methods.code.coderl import CodeRL, Config
from pretrial.methods.code.coderl.data.samples import read_samples
from pretrial.methods.code.coderl.stages import experience
from pretrial.sandbox import Runner
from pretrial.train.checkpoint import read_tensors
from pretrial.train.loop import train
from pretrial.train.run import Run


@pytest.fixture
def counted(monkeypatch):
    """Every process notes the programs that its runners were given, by the folder of its run."""
    real = Runner.run

    def run(self, jobs, *args, **kwargs):
        path = Path(os.environ["COUNTED"]) / f"rank{os.environ.get('RANK', '0')}.jsonl"
        with path.open("a") as file:
            file.write(json.dumps([program for program, _ in jobs]) + "\n")
        return real(self, jobs, *args, **kwargs)

    monkeypatch.setattr(Runner, "run", run)
    monkeypatch.setattr(experience, "_ROWS", 12)  # a few problems a piece
    monkeypatch.setattr(experience, "_CHUNK", 6)


def work(folder: Path, shard: bool) -> None:
    folder.mkdir(exist_ok=True)
    os.environ["COUNTED"] = str(folder)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = mini_apps(num_train=12, num_test=3, solved=8)
    config = replace(
        Config.tiny(),
        critic_batch_size=8,
        warmup_epochs=1,
        critic_epochs=1,
        checker_epochs=0,
        repair_epochs=0,
        evaluate_every=2,
        resample_every=2,
        rl_steps=4,
        rl_batch_size=8,
        micro_batch_size=4,
    )
    run = Run(folder / "run", data.train, data.test, quiet=True)
    train(CodeRL.build(config, data=data.train), run, shard=shard)
    spent = {name: row.get("tokens") for name, row in run.spent.by_purpose.items()}
    if run.world.is_first:
        (folder / "spent.json").write_text(json.dumps(spent))


def programs_of(folder: Path, rank: int) -> list[str]:
    lines = (folder / f"rank{rank}.jsonl").read_text().splitlines()
    return [program for line in lines for program in json.loads(line)]


def test_two_processes_share_sampling_execution_and_evaluation(tmp_path, counted, monkeypatch):
    one, two = tmp_path / "one", tmp_path / "two"
    monkeypatch.setenv("COUNTED", "")
    work(one, shard=False)
    in_processes(2, lambda: work(two, shard=True))

    shares = [programs_of(two, rank) for rank in range(2)]
    assert sorted(shares[0] + shares[1]) == sorted(programs_of(one, 0))
    assert min(map(len, shares)) > 0.3 * max(map(len, shares))

    artefacts = sorted(path.name for path in (one / "run" / "artefacts").iterdir())
    assert {"references", "samples-000", "samples-001", "warm-score", "resampled-0001"} <= {
        *artefacts
    }
    for name in artefacts:
        if name.startswith(("samples", "resampled")):
            for path in (one / "run" / "artefacts" / name).glob("*.jsonl"):
                other = two / "run" / "artefacts" / name / path.name
                pairs = zip(read_samples(path), read_samples(other), strict=True)
                assert all(a.ids == b.ids and a.outcome == b.outcome for a, b in pairs)
    assert json.loads((two / "spent.json").read_text()) == json.loads(
        (one / "spent.json").read_text()
    )
    for stage in ("warmup", "critic", "reinforce"):
        wanted, found = (
            read_tensors(where / "run" / "stages" / stage / "done", "weights")
            for where in (one, two)
        )
        for name, weight in wanted.items():
            torch.testing.assert_close(found[name], weight, rtol=1e-3, atol=1e-4)
