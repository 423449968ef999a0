"""The command line with a small method of the tests' own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pretrial.cli import main

OWN_METHODS = Path(__file__).parent / "own_methods"
TEXT = "the quick brown fox jumps over a lazy dog and then runs far away from here"


@pytest.fixture(autouse=True)
def _own_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """`bigram` is found beside the methods of the project."""
    monkeypatch.setenv("PRETRIAL_METHODS", str(OWN_METHODS))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Forty texts."""
    path = tmp_path / "texts.jsonl"
    words = TEXT.split()
    rows = [{"text": f"{a} {b}"} for i, a in enumerate(words) for b in words[i % 5 :: 5]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:40]))
    return path


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail with exit code 2 and one line on stderr; gives that line."""

    def run(*words: object) -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 2
        err = capsys.readouterr().err
        lines = [line for line in err.splitlines() if line.startswith("pretrial: ")]
        assert len(lines) == 1
        assert err.endswith(lines[0] + "\n")
        return lines[0]

    return run
