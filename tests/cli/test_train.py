"""`train`: from rows to a model, stopped and gone on with, and every mistake in one line."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pretrial import discover
from pretrial.api import presets
from pretrial.cli import main

Fails = Callable[..., str]


def command(texts: Path, out: Path, *more: object, steps: int = 20) -> list[str]:
    words = ["train", "bigram", "--data", texts, "--budget", f"{steps}steps", "--out", out, *more]
    if not {"--tiny", "--paper", "--preset"} & set(map(str, more)):
        words += ["--preset", "base"]
    return [str(word) for word in words]


def weights(out: Path) -> torch.Tensor:
    return load_file(out / "model" / "weights.safetensors")["logits"]


def test_train_writes_model_record_and_metrics(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(command(texts, out, "--lr", "0.2", "--seed", 3)) == 0
    record = json.loads((out / "run.json").read_text())
    assert record["slug"] == "bigram"
    assert record["config"] == {"lr": 0.2, "batch_size": 4}
    assert record["arguments"]["data"] == str(texts)
    assert record["arguments"]["seed"] == 3
    assert record["environment"]["torch"] == version("torch")
    assert record["num_examples"] + record["num_held_out"] == 40
    assert record["num_held_out"] > 0
    losses = [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]
    said = capsys.readouterr().out
    assert f"the model is in {out / 'model'}" in said
    assert "letters: loss " in said
    assert f"\n  pretrial eval {out}\n" in said


def test_the_same_command_gives_the_same_model(texts: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert main(command(texts, tmp_path / name)) == 0
    assert torch.equal(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert main(command(texts, tmp_path / "three", "--seed", 1)) == 0
    assert not torch.equal(weights(tmp_path / "one"), weights(tmp_path / "three"))


def test_a_stopped_run_goes_on_to_the_same_model(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    assert main(command(texts, tmp_path / "whole")) == 0
    method: Any = discover.load("bigram").method
    make_batch = method.batch
    num_batches = 0

    def stopped_at_the_seventh(self: Any, *args: Any) -> Any:
        nonlocal num_batches
        num_batches += 1
        if num_batches == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return make_batch(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(method, "batch", stopped_at_the_seventh)
        line = fails(*command(texts, tmp_path / "stopped"))
    assert "same command" in line
    assert num_batches < 20
    assert not (tmp_path / "stopped" / "model").exists()
    assert "not finished" in fails("predict", tmp_path / "stopped", "--data", texts)
    assert main(command(texts, tmp_path / "stopped")) == 0
    assert torch.equal(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


def test_a_mistake_at_the_start_binds_nothing(texts: Path, tmp_path: Path, fails: Fails) -> None:
    assert "no budget" in fails("train", "bigram", "--data", texts, "--out", tmp_path / "run")
    assert main(command(texts, tmp_path / "run")) == 0


def test_a_finished_run_started_again_keeps_its_model(texts: Path, tmp_path: Path) -> None:
    assert main(command(texts, tmp_path / "run")) == 0
    before = (tmp_path / "run" / "model" / "weights.safetensors").stat().st_mtime_ns
    assert main(command(texts, tmp_path / "run")) == 0
    assert (tmp_path / "run" / "model" / "weights.safetensors").stat().st_mtime_ns == before


def test_another_setting_in_the_same_folder_is_named(
    texts: Path, tmp_path: Path, fails: Fails
) -> None:
    out = tmp_path / "run"
    assert main(command(texts, out)) == 0
    for option, value in (("--lr", 0.3), ("--seed", 1), ("--held-out-ratio", 0.2)):
        line = fails(*command(texts, out, option, value))
        assert option in line
        assert str(value) in line
    assert "--budget 20steps, not 30steps" in fails(*command(texts, out, steps=30))
    with texts.open("a") as file:
        file.writelines('{"text": "more and more"}\n' for _ in range(3))
    assert "the data changed" in fails(*command(texts, out))


def test_presets_set_the_defaults_and_options_win(texts: Path, tmp_path: Path) -> None:
    for name, words, config in (
        ("tiny", ["--tiny"], {"lr": 0.1, "batch_size": 2}),
        ("paper", ["--paper", "shannon", "--lr", "0.5"], {"lr": 0.5, "batch_size": 8}),
    ):
        assert main(command(texts, tmp_path / name, *words)) == 0
        assert json.loads((tmp_path / name / "run.json").read_text())["config"] == config


def test_init_starts_from_a_model(texts: Path, tmp_path: Path) -> None:
    assert main(command(texts, tmp_path / "first", steps=200)) == 0
    start = tmp_path / "first" / "model"
    assert main(command(texts, tmp_path / "second", "--init", start, "--lr", 1e-9, steps=1)) == 0
    torch.testing.assert_close(weights(tmp_path / "second"), weights(tmp_path / "first"))


def test_held_out_data_is_taken_as_given(texts: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"text": "held out"}\n')
    assert main(command(texts, tmp_path / "run", "--held-out", other)) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["num_examples"], record["num_held_out"]) == (40, 1)


def test_fields_are_renamed_and_bad_rows_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Fails
) -> None:
    data = tmp_path / "bodies.jsonl"
    data.write_text('{"body": "some words here"}\n' * 8 + "{broken\n")
    words = ["--held-out-ratio", "0", "--fields", "text=body"]
    assert "line 9" in fails(*command(data, tmp_path / "run", *words))
    assert main(command(data, tmp_path / "run", *words, "--skip-bad")) == 0
    assert "left out 1 rows" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["num_examples"] == 8


def test_dry_run_describes_and_writes_nothing(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(texts, tmp_path / "run", "--dry-run")) == 0
    said = capsys.readouterr().out
    for text in (
        "stage letters",
        "729 trained",
        "20 steps",
        "first [",
        "int64",
        "weights 2.92 kB, gradients 2.92 kB, optimizer 5.83 kB, activations of the",
        "FLOPs a step",
    ):
        assert text in said
    assert not (tmp_path / "run").exists()


def test_dry_run_without_a_budget_tells_of_a_step_and_of_shares(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "bigram", "--data", str(texts), "--out", str(tmp_path / "run"), "--dry-run"]
    assert main([*words, "--gpus", "2"]) == 0
    said = capsys.readouterr().out
    assert "budget      all of what --budget will give\n" in said
    assert "FLOPs a step" in said
    assert "tokens/s\n" in said  # and no hours, which nobody knows yet
    codes = tmp_path / "codes.jsonl"
    row = {"code": "def f(a):\n    return a + 1\n", "comment": "Add one to it."}
    codes.write_text("\n".join([json.dumps(row)] * 16))
    assert main(["train", "codet5", "--data", str(codes), "--tiny", *words[4:]]) == 0
    said = capsys.readouterr().out
    assert "67% of what --budget will give" in said
    assert "33% of what --budget will give" in said


def test_dry_run_of_a_published_size_takes_no_memory(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "coderl", "--data", "builtin:mini-apps?num_train=12", "--dry-run"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main([*words, "--paper", "codet5-large"]) == 0
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # kB
    said = capsys.readouterr().out
    assert "737,639,424 trained" in said
    assert "weights 2.95 GB, gradients 2.95 GB, optimizer 5.9 GB, activations" in said
    assert "then samples-000 is made" in said
    assert grown < 1e6


def test_dry_run_ends_where_weights_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "coderl", "--data", "builtin:mini-apps?num_train=12", "--dry-run", "--tiny"]
    assert main([*words, "--warmup-epochs", "0"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("then samples-000 is made, which needs trained weights")


def test_dry_run_plans_for_many_devices(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dry-run", "--gpus", "4", "--nodes", "2", "--gpu", "h100", "--shard"]
    assert main(command(texts, tmp_path / "run", *words)) == 0
    said = capsys.readouterr().out
    for text in (
        "on 4 x h100 in 2 node(s), weights sharded, fp32",
        "of 72 GB usable: weights ",
        "while it is evaluated",
        "messages",
        "tokens/s; the stage",
        "GPU-hours",
    ):
        assert text in said


def test_dry_run_makes_all_pieces_for_many_devices(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "coderl", "--data", "builtin:mini-apps?num_train=12", "--dry-run", "--tiny"]
    assert main([*words, "--gpus", "2"]) == 0
    assert "on 2 x a100-80gb" in capsys.readouterr().out


def test_dry_run_of_too_much_says_what_to_change(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "coderl", "--data", "builtin:mini-apps", "--dry-run", "--gpus", "2"]
    words += ["--paper", "codet5-large", "--gpu", "l4"]
    assert main([*words, "--warmup-batch-size", "256", "--micro-batch-size", "128"]) == 2
    told = capsys.readouterr().err
    assert "stage 'warmup' needs" in told
    assert "set the method's micro-batch size to at most" in told


def test_dry_run_from_a_checkpoint_tells_of_its_weights(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(texts, tmp_path / "one")) == 0
    words = ["--init", tmp_path / "one" / "model", "--dry-run"]
    assert main(command(texts, tmp_path / "two", *words)) == 0
    assert "729 trained" in capsys.readouterr().out


def in_default_folder(texts: Path, *more: object) -> list[str]:
    words = ["train", "bigram", "--data", texts, "--budget", "20steps", "--preset", "base", *more]
    return [str(word) for word in words]


def test_default_folders_are_numbered_and_the_same_command_goes_on(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(in_default_folder(texts)) == 0
    assert main(in_default_folder(texts, "--lr", 0.2)) == 0
    assert "runs/bigram holds another run: this one goes into runs/bigram-2" in (
        capsys.readouterr().out
    )
    assert main(in_default_folder(texts, "--lr", 0.3)) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == [
        "bigram",
        "bigram-2",
        "bigram-3",
    ]
    shutil.rmtree("runs/bigram-2/model")  # as if it had been stopped
    capsys.readouterr()
    assert main(in_default_folder(texts, "--lr", 0.2)) == 0
    assert "runs/bigram-2 holds this run, which was stopped: it goes on" in capsys.readouterr().out
    assert main(in_default_folder(texts, "--lr", 0.2)) == 0
    assert "runs/bigram-2 holds this run already" in capsys.readouterr().out
    shutil.rmtree("runs/bigram")
    assert main(in_default_folder(texts)) == 0
    assert Path("runs/bigram-4/model").is_dir()


def test_auto_chooses_once_and_says_why(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "bigram", "--data", str(texts), "--budget", "20steps"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "preset tiny: 729 parameters; base has 729, and the budget shows 167 tokens\n" in told
    record = json.loads(Path("runs/bigram/run.json").read_text())
    assert (record["preset"], record["config"]["batch_size"]) == ("tiny", 2)
    monkeypatch.setattr(presets, "DATA", 1e9)  # another choice would be made now
    monkeypatch.setattr(presets, "SHOWN", {"base": 1e9})
    assert main(words) == 0
    assert "runs/bigram holds this run already" in capsys.readouterr().out
    start = str(Path("runs/bigram/model"))
    assert main([*words, "--init", start, "--out", "from"]) == 0
    assert json.loads(Path("from/run.json").read_text())["preset"] == "base"


def test_overwriting_loses_nothing_by_a_mistake(texts: Path, tmp_path: Path, fails: Fails) -> None:
    out, aside = tmp_path / "run", tmp_path / "run.replaced"
    assert main(command(texts, out)) == 0
    before = weights(out)
    for words, told in (
        (["--batch-size", 64], "batch_size of at most"),
        (["--lr", -1], "--lr must be above 0"),
        (["--fields", "text=body"], "found: text"),
    ):
        assert told in fails(*command(texts, out, "--overwrite", *words))
        assert torch.equal(weights(out), before)
        assert not aside.exists()
    assert main(command(texts, out, "--overwrite", "--lr", 0.3)) == 0
    assert json.loads((out / "run.json").read_text())["config"]["lr"] == 0.3
    assert not torch.equal(weights(out), before)
    assert not aside.exists()
    assert "--overwrite" in fails(*command(texts, out))
    assert "give that one, too" in fails(*in_default_folder(texts, "--overwrite"))


def test_a_run_that_overwrites_goes_on_after_a_stop(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    out, aside = tmp_path / "run", tmp_path / "run.replaced"
    assert main(command(texts, out)) == 0
    again = command(texts, out, "--overwrite", "--seed", 5)
    method: Any = discover.load("bigram").method

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(method, "save", stopped)
        assert main(again) == 130
    assert (aside / "model").is_dir()
    assert not (out / "model").exists()
    line = fails(*command(texts, out, "--overwrite", "--seed", 6))
    assert "was stopped while it replaced" in line
    assert main(again) == 0
    assert json.loads((out / "run.json").read_text())["arguments"]["seed"] == 5
    assert not aside.exists()


def test_overwrite_leaves_alone_what_is_no_run(texts: Path, tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("words")
    assert "holds no run" in fails(*command(texts, tmp_path / "thesis", "--overwrite"))
    assert (tmp_path / "thesis" / "chapter.tex").exists()
    assert main(command(texts, tmp_path / "new", "--overwrite")) == 0
    assert main(command(texts, tmp_path / "new", "--overwrite", "--dry-run", "--seed", 2)) == 0
    assert json.loads((tmp_path / "new" / "run.json").read_text())["arguments"]["seed"] == 0


def test_epochs_are_a_budget(texts: Path, tmp_path: Path) -> None:
    words = [*command(texts, tmp_path / "run"), "--budget", "3epochs", "--held-out-ratio", "0"]
    assert main(words) == 0
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["examples"] == 120  # three times forty
    assert rows[-1]["step"] == 30


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--learning-rate", 1], "--learning-rate"),
        (["--lr", "fast"], "fast"),
        (["--lr", -1], "--lr must be above 0"),
        (["--tiny", "--paper", "shannon"], "one of --tiny, --small and --paper"),
        (["--preset", "base", "--tiny"], "one of --tiny, --small and --paper"),
        (["--preset", "small"], "bigram has no preset small, only tiny and base"),
        (["--preset", "huge"], "huge"),
        (["--budget", "0epochs"], "3epochs"),
        (["--gpus", 8], "--gpus plans a run: add --dry-run"),
        (["--paper", "shanon"], "shannon"),
        (["--budget", "10 parsecs"], "10m"),
        (["--held-out-ratio", 1], "--held-out-ratio"),
        (["--fields", "text"], "text=body"),
        (["--fields", "text=body"], "found: text"),
        (["--split", "test"], "split"),
        (["--batch-size", 64], "batch_size of at most"),
        (["--trackers", "tensorbord"], "tensorboard"),
        (["--dtype", "fp8"], "fp8"),
        (["--device", "gpu"], "auto or cpu"),
        (["stray"], "stray"),
    ],
)
def test_mistakes_name_the_mend(
    words: list[object], told: str, texts: Path, tmp_path: Path, fails: Fails
) -> None:
    assert told in fails(*command(texts, tmp_path / "run", *words))


def test_mistakes_about_data_and_method(texts: Path, tmp_path: Path, fails: Fails) -> None:
    assert "bigram" in fails("train", "bigrm", "--data", texts)
    assert "slug" in fails("train")
    assert "--data" in fails("train", "bigram")
    assert "texts.jsonl" in fails(*command(tmp_path / "text.jsonl", tmp_path / "run"))
    assert "mini-apps" in fails(*command(Path("builtin:mini-aps"), tmp_path / "run"))
    assert "File exists" in fails(*command(texts, texts))
    assert "cannot write into /proc/run" in fails(*command(texts, Path("/proc/run")))
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "empty.jsonl" in fails(*command(empty, tmp_path / "run"))
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"body": "words"}\n')
    assert "only body" in fails(*command(wrong, tmp_path / "run"))
    assert main(command(texts, tmp_path / "run")) == 0
    record = tmp_path / "run" / "run.json"
    record.write_text(record.read_text().replace('"bigram"', '"other"'))
    assert "a run of other" in fails(*command(texts, tmp_path / "run"))
