"""`pretrial check`: a newcomer's method goes through, and each thing that it may lack is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from pretrial.check.checks import CHECKS
from pretrial.cli import main

OWN_METHODS = Path(__file__).parent / "own_methods"
WHOLE = (OWN_METHODS / "vision" / "two_views.py").read_text()

Write = Callable[..., str]
Capture = pytest.CaptureFixture[str]


def without(text: str, start: str, end: str) -> str:
    """The text without what stands from one phrase up to another."""
    first = text.index(start)
    return text[:first] + text[text.index(end, first) :]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a method under another slug and gives that."""
    monkeypatch.setenv("PRETRIAL_METHODS", str(tmp_path))
    number = iter(range(10))

    def written(text: str) -> str:
        # a slug of its own, since modules are imported once
        slug = f"{tmp_path.name}_{next(number)}".replace("-", "_")
        path = tmp_path / "vision" / f"{slug}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("two_views", slug))
        return slug

    return written


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "images.npz", image=rng.integers(0, 255, (40, 8, 8), dtype=np.uint8))
    return tmp_path / "images.npz"


def failures(slug: str, capsys: Capture) -> dict[str, str]:
    """What `pretrial check` says of the checks that fail, by their names."""
    capsys.readouterr()
    assert main(["check", slug]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CHECKS) + 1
    assert all(line.startswith(("ok    ", "FAIL  ")) for line in lines[:-1])
    failed = dict(line[6:].split(": ", 1) for line in lines if line.startswith("FAIL"))
    assert lines[-1].startswith(f"{len(failed)} of {len(CHECKS)} checks failed")
    return failed


def test_a_method_of_a_hundred_lines_is_checked_trained_and_exported(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("PRETRIAL_METHODS", str(OWN_METHODS))
    assert main(["check", "two_views"]) == 0
    assert f"all {len(CHECKS)} checks passed" in capsys.readouterr().out
    train = ["train", "two_views", "--data", str(images), "--budget", "4steps"]
    assert main([*train, "--tiny", "--out", str(tmp_path / "tiny")]) == 0
    paper = ["--paper", "small", "--batch-size", "16", "--out", str(tmp_path / "paper")]
    assert main([*train, *paper]) == 0
    model = tmp_path / "model"
    assert main(["export", str(tmp_path / "tiny"), "--to", str(model)]) == 0
    assert load_file(model / "model.safetensors")["0.weight"].shape == (16, 1, 3, 3)
    eval_ = ["eval", str(tmp_path / "paper"), "--data", str(images), "--task", "retrieval"]
    assert main([*eval_, "--query", "image", "--document", "image"]) == 0


def test_its_trial_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setenv("PRETRIAL_METHODS", str(OWN_METHODS))
    trial = ["trial", "two_views", "--tiny", "--seeds", "1", "--workers", "1", "--arms", "crops"]
    assert main([*trial, "--out", str(tmp_path), "--runs", str(tmp_path / "jobs")]) == 0
    assert "crops - random, accuracy" in capsys.readouterr().out
    assert (tmp_path / "two_views.json").is_file()


def test_a_config_without_presets_or_batch_size_is_told_what_to_add(
    write: Write, images: Path, capsys: Capture
) -> None:
    text = without(WHOLE, "    @classmethod\n    def tiny", "class TwoViews")
    text = text.replace("    lr: float = 2e-3\n    batch_size: int = 64\n", "")
    slug = write(text.replace("class Config(Optimisation):", "class Config:"))
    for option in ("--tiny", "--paper=small"):
        assert main(["train", slug, "--data", str(images), option]) == 2
        name = option[2:].split("=")[0]
        assert f"its Config has no classmethod {name}()" in capsys.readouterr().err
    found = failures(slug, capsys)
    assert "add a classmethod tiny()" in found["config has a tiny size"]
    assert "add a classmethod paper(name)" in found["config has published sizes"]
    assert (
        found["config has the options of training"]
        == "Config has no lr and no batch_size: inherit bases.config.Optimisation, which gives the"
        " options lr, warmup, weight_decay, batch_size, micro_batch_size, evaluate_every"
    )
    assert found["loss falls on one batch"] == "see 'config has a tiny size'"


def test_a_loss_that_compares_examples_must_say_so(write: Write, capsys: Capture) -> None:
    slug = write(WHOLE.replace("compares_examples: ClassVar[bool] = True", "compares = True"))
    found = failures(slug, capsys)
    assert list(found) == ["four micro batches equal the batch"]
    assert "set compares_examples: ClassVar[bool] = True in TwoViews" in found.popitem()[1]


@pytest.mark.parametrize(
    ("change", "name", "mend"),
    [
        (("@classmethod\n    def sample_rows", "def rows_of_mine"), "rows for tests", "sample_row"),
        (('summary="Two crops', 'summary="" and "Two crops'), "card", "literal"),
        (('abilities=("encode",)', 'abilities=("encode", "search")'), "every ability", "search"),
        (("width: of a vector.", "some width."), "every option", "width is not in the docstring"),
        (('{"loss": nt_xent', '{"nt_xent_loss": nt_xent'), "losses are", "name what is minimised"),
        (("float(num)}", "num}"), "losses are", "make it a float"),
        (("self.encoder = nn", "self.head = nn.Linear(2, 2)\n        self.encoder = nn"),
         "every trainable", "head.weight gets no gradient"),
        (('{"loss": nt_xent', '{"loss": 0 * nt_xent'), "every trainable", "all gradients are 0"),
        (("torch.cat(views)", "torch.catty(views)"), "losses are", "AttributeError"),
        (("num, generator)", "num, torch.default_generator)"), "a run", "from the generator that"),
        (("method.load_state_dict(", "len("), "what is saved", "does not come back"),
        (("return self.encoder\n", "return None\n"), "export", "must give a torch module"),
    ],
)  # fmt: skip
def test_each_fault_is_one_line_that_names_the_mend(
    write: Write, capsys: Capture, change: tuple[str, str], name: str, mend: str
) -> None:
    assert change[0] in WHOLE
    slug = write(WHOLE.replace(*change))
    if mend == "literal":
        assert main(["check", slug]) == 2
        assert "CARD must be a literal" in capsys.readouterr().err
        return
    found = failures(slug, capsys)
    assert any(key.startswith(name) and mend in text for key, text in found.items()), found


def test_a_method_that_is_not_found_is_told_why(write: Write, capsys: Capture) -> None:
    slug = write(without(WHOLE, "CARD = Card(", "@dataclass"))
    assert main(["check", slug]) == 2
    assert f"{slug}.py has no CARD = Card(...)" in capsys.readouterr().err
    slug = write(WHOLE.replace("    year=2026,\n", ""))
    assert main(["check", slug]) == 2
    assert "missing 1 required positional argument: 'year': mend CARD" in capsys.readouterr().err
    assert main(["check"]) == 2
    assert "slug" in capsys.readouterr().err
