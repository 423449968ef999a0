"""Checks of whole runs: resume, seeds, and what is saved and exported."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_model
from torch import nn
from transformers import PreTrainedModel

from pretrial.check.contract import ContractError, Subject, explained, generator, require
from pretrial.checkpoints.t5 import save_network
from pretrial.train.checkpoint import weights_of
from pretrial.train.log import read_rows
from pretrial.train.loop import Stopped
from pretrial.train.method import Method
from pretrial.train.run import Run

_MOST_STOPS = 50


class InterruptedRun(Run):
    """A run whose process is asked to stop at every third step."""

    steps = 0

    def book(self, purpose: str, **amounts: float) -> None:
        super().book(purpose, **amounts)
        if self.stage and amounts.get("steps") == 1:  # a step, and not what was booked before
            InterruptedRun.steps += 1
            if InterruptedRun.steps % 3 == 0:
                os.kill(os.getpid(), signal.SIGTERM)


def a_run_interrupted_many_times_ends_with_the_same_bits(subject: Subject) -> None:
    """Weights and logged losses are those of a run without a stop."""
    whole = subject.whole
    method, stops = None, 0
    while method is None:
        try:
            method = subject.trained("interrupted", InterruptedRun)
        except Stopped:
            stops += 1
            require(stops < _MOST_STOPS, "a run that is stopped makes no way: look at `stages`")
    require(stops >= 2, "the stages are too short to be stopped: let them take the run's budget")
    mend = (
        "a run that was stopped ends with other weights than one that was not: draw all that is"
        " random from the generator that `batch` is given or from run.generator, and keep all"
        " state in parameters and buffers"
    )
    require_same_weights(method, whole, mend)
    logs = (_logged(subject.folder / name) for name in ("interrupted", "whole"))
    require(next(logs) == next(logs), mend.replace("weights", "losses"))


def same_seed_same_run_and_another_seed_another(subject: Subject) -> None:
    """The seed alone decides."""
    mend = (
        "two runs of one seed differ: draw all that is random from the generator that `batch` is"
        " given or from run.generator, and go through no set in its order"
    )
    require_same_weights(subject.trained("again"), subject.whole, mend)
    other = weights_of(subject.trained("other", seed=1))
    same = [torch.equal(w, other[n]) for n, w in weights_of(subject.whole).items() if n in other]
    require(not all(same), "two seeds give one run: draw weights and batches at random")


def what_is_saved_comes_back(subject: Subject) -> None:
    """`build(config, source=folder)` gives the weights that `save(folder)` wrote."""
    mend = "what save() writes does not come back: let build() read all of it from `source`"
    with tempfile.TemporaryDirectory(dir=subject.folder) as folder:
        subject.whole.save(Path(folder))
        again = subject.method.build(subject.config, source=Path(folder)).eval()
        require_same_weights(again, subject.whole, mend)


def export_loads_again_and_answers_the_same(subject: Subject) -> None:
    """Of a model of transformers; any other module is written, tied weights once."""
    exported = subject.whole.export()
    mend = "export() must give a torch module, a PreTrainedModel where one fits"
    require(isinstance(exported, nn.Module), f"{mend}, not a {type(exported).__name__}")
    exported.eval()
    with tempfile.TemporaryDirectory(dir=subject.folder) as folder:
        if not isinstance(exported, PreTrainedModel):
            save_model(exported, str(Path(folder) / "model.safetensors"))
            return
        save_network(exported, Path(folder))
        # what transformers lacks is ours to load
        [name] = exported.config.architectures or [""]
        kind = getattr(transformers, name, type(exported))
        again = kind.from_pretrained(folder).eval()
    inputs = made_inputs(exported)
    with torch.no_grad():
        # where a file is mapped decides the order of sums, and so the last bits
        same = torch.allclose(again(**inputs)[0], exported(**inputs)[0], rtol=1e-5, atol=1e-5)
    require(same, "what export() gives answers otherwise once it was loaded: look at its config")


def made_inputs(model: Any) -> dict[str, torch.Tensor]:
    """Two inputs for a model of transformers: texts, or images."""
    if model.main_input_name == "pixel_values":
        size = model.config.image_size
        height, width = (size, size) if isinstance(size, int) else size
        shape = (2, model.config.num_channels, height, width)
        return {"pixel_values": torch.randn(shape, generator=generator())}
    ids = torch.randint(10, 200, (2, 9), generator=generator())
    inputs = {"input_ids": ids}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :5]
    return inputs


def require_same_weights(one: Method, other: Method, mend: str) -> None:
    """Makes sure that two methods have the same weights, bit for bit."""
    ours, theirs = weights_of(one), weights_of(other)
    if ours.keys() != theirs.keys():
        name = sorted(ours.keys() ^ theirs.keys())[0]
        raise ContractError(f"{mend} ({name} is in one alone)")
    for name, weight in ours.items():
        with explained(f"{mend} ({name} differs)"):
            assert torch.equal(weight, theirs[name])


def _logged(folder: Path) -> list[dict[str, Any]]:
    """The rows of the log without what depends on the clock."""
    rows = read_rows(folder / "metrics.jsonl")
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]
