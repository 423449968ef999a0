"""`export`: a trained run as a folder that other tools load."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pretrial.api import data, runs, trials
from pretrial.api.opening import Opened, open_model
from pretrial.cli import config_file, options
from pretrial.errors import UserError

_DTYPES = {"checkpoint": "", "fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class ExportOptions:
    """Where an exported model goes.

    Attributes:
        to: a folder that is not there yet; or for a language model of Llama's layout a file that
            ends in .gguf, as llama.cpp and transformers read it.
        bits: of the weights in a GGUF file.
        dtype: of the weights in a folder; "checkpoint" is that of the checkpoint that the run
            started from, and fp32 without one. Training is in fp32 whatever it was.
        adapter: of a run with --lora-rank write what was trained alone, as peft reads it, and not
            the whole model.
        license: of the model, for its card, as the Hub calls it, such as apache-2.0.
        push_to_hub: name of a repository, such as me/my-model, that the export is uploaded to; a
            new one is private.
        arm: of a trial's record, whose model it is; without it the one that the verdict is for.
        seed: of a trial's record; without it the arm's first.
        runs: folder of the jobs of trials; what is no longer there is trained again.
    """

    to: Path
    bits: Literal[16, 8, 4] = 8
    dtype: Literal["checkpoint", "fp32", "bf16", "fp16"] = "checkpoint"
    adapter: bool = False
    license: str = ""
    push_to_hub: str = ""
    arm: str = ""
    seed: int | None = None
    runs: Path = Path("runs/trials")


def export(argv: Sequence[str]) -> None:
    """Writes the model of a run, or of a trial's arm, as a folder or a GGUF file."""
    from pretrial.convert.hub import check_hub, push

    word, rest = options.first_word(argv, "pretrial export", "the folder of a run")
    parsed = options.parse(ExportOptions, rest, prog=f"pretrial export {word}")
    runs.make_folder(parsed.to.parent)
    if parsed.push_to_hub and parsed.to.suffix == ".gguf":
        raise UserError("--push-to-hub uploads a folder: give --to one, and not a GGUF file")
    api = check_hub(parsed.push_to_hub) if parsed.push_to_hub else None
    folder, told = _run(Path(word), parsed)
    opened = open_model(word if folder == Path(word) else folder)
    if opened.record is None:
        raise UserError(f"{word} is a plain checkpoint, which other tools load as it is")
    if told:
        print(told)
    _write(parsed, folder, opened, opened.record)
    config_file.leave_beside(parsed.to, ["export", word], parsed)
    if api is not None:
        print(f"uploaded to {push(api, parsed.to, parsed.push_to_hub)}")


def _write(parsed: ExportOptions, folder: Path, opened: Opened, record: runs.Record) -> None:
    """Writes the adapter, the GGUF file or the folder that was asked for, and says so."""
    from pretrial.convert.export import export_adapter, export_gguf, export_model

    method = opened.load()
    if parsed.adapter:
        found = runs.adapter_of(folder)
        export_adapter(found, parsed.to, method, str(record.arguments["init"]))
        print(f"{parsed.to} holds the adapter: {parsed.to / 'README.md'} says how it is used")
        return
    if parsed.to.suffix == ".gguf":
        export_gguf(method, parsed.to, parsed.bits)
        print(f"{parsed.to} holds the model, {parsed.to.stat().st_size / 1e6:.1f} MB")
        return
    usage = export_model(
        method,
        parsed.to,
        opened.card,
        dataclasses.asdict(record),
        data.note(record.arguments["data"]),
        _DTYPES[parsed.dtype],
        metrics=trials.measured(folder) or runs.last_evaluation(folder),
        licence=parsed.license,
        name=parsed.push_to_hub,
    )
    print(f"{parsed.to} holds the model")
    if usage:
        print(f"{parsed.to / 'README.md'} says how it is used")


def _run(path: Path, asked: ExportOptions) -> tuple[Path, str]:
    """The folder of the run that a word names, which may be a trial's record or a job.

    Raises:
        UserError: see `run_of_record`; or arm and seed are given of a run, which has its own.
    """
    if path.suffix == ".json":
        return trials.run_of_record(path, asked.arm, asked.seed, asked.runs)
    if asked.arm or asked.seed is not None:
        raise UserError(f"--arm and --seed choose a model of a trial's record, and {path} is none")
    return trials.run_of(path), ""
