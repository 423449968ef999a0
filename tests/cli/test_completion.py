"""`pretrial completion`: a script that completes without starting Python."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pretrial import discover
from pretrial.cli import main


@pytest.fixture(autouse=True)
def _few_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {slug: discover.methods()[slug] for slug in ("bigram", "mlm")}
    monkeypatch.setattr(discover, "methods", lambda: found)


def completed(script: Path, *words: str) -> set[str]:
    """What bash offers for the last word."""
    quoted = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _pretrial;"
        ' echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes_commands_slugs_and_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "pretrial.bash"
    script.write_text(capsys.readouterr().out)
    assert completed(script, "pretrial", "tr") == {"train", "trial"}
    assert completed(script, "pretrial", "train", "") == {"bigram", "mlm"}
    assert completed(script, "pretrial", "compare", "mlm", "b") == {"bigram"}
    assert completed(script, "pretrial", "train", "mlm", "--mask-r") == {"--mask-ratio"}
    assert completed(script, "pretrial", "train", "bigram", "--mask-r") == set()
    assert completed(script, "pretrial", "train", "bigram", "--bud") == {"--budget"}
    assert completed(script, "pretrial", "train", "mlm", "--preset", "t") == {"tiny"}
    assert "stdlib-code" in completed(script, "pretrial", "data", "")
    assert completed(script, "pretrial", "eval", "--con") == {"--config"}


def test_zsh_and_fish_have_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("autoload -U +X bashcompinit && bashcompinit\n")
    assert main(["completion", "fish"]) == 0
    told = capsys.readouterr().out
    for line in (
        "-n '__fish_seen_subcommand_from train; and __fish_seen_subcommand_from mlm' -l mask-ratio",
        "-n '__fish_seen_subcommand_from train' -l budget",
        "-n __fish_use_subcommand -f -a train -d 'train a method on your data'",
    ):
        assert f"complete -c pretrial {line}\n" in told


def test_another_shell_is_named(fails: Callable[..., str]) -> None:
    assert "takes one of bash, zsh, fish, not 'tcsh'; the nearest" in fails("completion", "tcsh")
    assert "takes one of bash" in fails("completion")
