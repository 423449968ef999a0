"""Whether `train --dry-run` plans the memory that a step takes: planned and measured, side by side.

    python bench/plan_memory.py

A stage is described with shapes alone, as the planner does. Then steps are taken for real on the
CPU, forward, backward and AdamW, under torch's own memory tracker, which tells the bytes of all
tensors at the peak. The last columns are what the same forward pass keeps for its backward pass
under autocast in bf16: copies of weights, and the rest as a share of fp32.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import Any

import torch
from torch.distributed._tools.mem_tracker import MemTracker

from pretrial import discover
from pretrial.train.budget import Budget
from pretrial.train.describe import describe
from pretrial.train.run import Run
from pretrial.train.stage import Stage

SIZES: dict[str, dict[str, Any]] = {
    "mlm": {"width": 256, "num_heads": 4, "num_layers": 4, "feed_forward": 1024},
    "electra": {"width": 256, "num_heads": 4, "num_layers": 4, "feed_forward": 1024},
    "mosaicbert": {"width": 256, "num_heads": 4, "num_layers": 4, "feed_forward": 1024},
    "yi": {"width": 256, "num_heads": 4, "num_layers": 4, "feed_forward": 1024},
}


def kept_bytes(module: Any, batch: Any, autocast: bool) -> tuple[int, int]:
    """What a forward pass keeps for its backward pass: copies of weights in bf16, and the rest."""
    own = {p.untyped_storage()._cdata for p in [*module.parameters(), *module.buffers()]}
    sizes = {p.numel() for p in module.parameters() if p.ndim > 1}
    kept: dict[int, torch.UntypedStorage] = {}
    copies: set[int] = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # held, so that its address is not given again
            if tensor.dtype == torch.bfloat16 and tensor.ndim == 2 and tensor.numel() in sizes:
                copies.add(storage._cdata)
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        loss = module.losses(batch)["loss"]
    del loss
    of_weights = sum(kept[key].nbytes() for key in copies)
    return of_weights, sum(storage.nbytes() for storage in kept.values()) - of_weights


def measure(slug: str) -> None:
    """Prints the row of one method."""
    loaded = discover.load(slug)
    known = loaded.config.__dataclass_fields__
    sizes = {name: size for name, size in SIZES[slug].items() if name in known}
    config = replace(loaded.config.tiny(), batch_size=32, **sizes)
    examples = loaded.method.read(loaded.method.sample_rows() * 4)

    def first_stage(folder: str) -> Stage:
        method = loaded.method.build(config, data=examples)
        run = Run(folder, examples, budget=Budget(4, "steps"), quiet=True)
        return next(iter(method.stages(run)))

    with tempfile.TemporaryDirectory() as folder:
        about = describe(first_stage(folder))  # leaves stand-ins behind
        stage = first_stage(folder)
    part = stage.module.train()
    batch = part.batch(
        [stage.data[i] for i in range(about["micro_batch_size"])], torch.Generator().manual_seed(0)
    )
    (_, fp32), (copies, bf16) = (kept_bytes(part, batch, autocast) for autocast in (False, True))
    optimizer = torch.optim.AdamW([p for p in part.parameters() if p.requires_grad], foreach=False)
    tracker = MemTracker()
    tracker.track_external(part, optimizer)
    with tracker:
        for _ in range(2):  # the optimiser has no state before the first step
            part.losses(batch)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
            tracker.reset_mod_stats()
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    by_kind = {getattr(kind, "value", str(kind)): size for kind, size in peak.items()}
    planned = sum(about["memory"].values())
    print(
        f"{slug:10} planned {planned / 1e6:8.2f} MB  peak {by_kind['Total'] / 1e6:8.2f} MB"
        f"  ratio {planned / by_kind['Total']:.3f}"
        f"  activations: planned {about['memory']['activations'] / 1e6:.2f},"
        f" kept {fp32 / 1e6:.2f} MB; in bf16 {bf16 / fp32:.2f} of it and copies of"
        f" {copies / 1e6:.2f} MB",
        flush=True,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for slug in SIZES:
        measure(slug)
