"""Penalties on weights that are cut over two processes are those of one process."""

from __future__ import annotations

import torch
from launched import in_processes
from test_api_continual import DATA, make, run_in

from pretrial.train.checkpoint import read_tensors
from pretrial.train.loop import train

GUARDED = ("ewc", "si", "rwalk")


def test_guards_follow_sharded_weights(tmp_path):
    def work(name: str, **how: bool) -> None:
        for strategy in GUARDED:
            method = make(strategy=strategy, micro_batch_size=2, ewc_weight=1.0, si_weight=1.0)
            train(method, run_in(tmp_path / name / strategy, steps=8, held_out=()), **how)

    assert len({example.domain for example in DATA}) == 2
    work("one")
    in_processes(2, lambda: work("two", shard=True))
    for strategy in GUARDED:
        folders = sorted((tmp_path / "one" / strategy / "stages").iterdir())
        assert len(folders) == 2
        for folder in folders:
            wanted = read_tensors(folder / "done", "weights")
            other = tmp_path / "two" / strategy / "stages" / folder.name / "done"
            found = read_tensors(other, "weights")
            assert wanted["guard.strength"].any() or folder == folders[0]
            for name, weight in wanted.items():
                torch.testing.assert_close(
                    found[name], weight, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
                )
