"""`list`, `info`, `demo`, and the frame around all commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pretrial import cli
from pretrial.cli import main


def test_list_shows_every_method_without_heavy_imports() -> None:
    code = (
        "import sys\n"
        "from pretrial.cli import main\n"
        "assert main(['list']) == 0\n"
        "heavy = {'torch', 'numpy', 'tyro', 'rich', 'transformers'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert "  bigram " in done.stdout
    assert done.stdout.endswith("heavy: []\n")


def test_a_reader_that_closes_early_is_no_error() -> None:
    command = f"{sys.executable} -m pretrial list | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""


def test_info_shows_card_and_idea(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "bigram"]) == 0
    page = capsys.readouterr().out
    for text in ("Shannon, 1951", "letters at random", "lower-case text", "3.56 bits", "smallest"):
        assert text in page


def test_info_lists_presets_and_published_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "mlm"]) == 0
    page = capsys.readouterr().out
    assert "  tiny   23.9 k parameters\n  small  1.08 M parameters\n  base   13.5 M" in page
    assert "--paper NAME)\n  small, base, large\n" in page


def test_demo_takes_the_options_of_its_function(
    capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    assert main(["demo", "bigram", "--num-words", "3"]) == 0
    assert capsys.readouterr().out == "words words words \n"
    assert "--num-words" in fails("demo", "bigram", "--num-wrds", 3)


def test_usage_names_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    usage = capsys.readouterr().out
    for command in ("list", "train", "predict", "eval", "export", "trial", "compare", "report"):
        assert f"  {command} " in usage


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lst"], "list"),
        (["info", "bigrm"], "bigram"),
        (["info"], "slug"),
        (["list", "--all"], "takes no options"),
        (["demo", "bigrm"], "bigram"),
    ],
)
def test_mistakes_name_the_mend(words: list[str], told: str, fails: Callable[..., str]) -> None:
    assert told in fails(*words)


def test_a_missing_folder_of_methods_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: Callable[..., str]
) -> None:
    monkeypatch.setenv("PRETRIAL_METHODS", str(tmp_path / "none"))
    assert str(tmp_path / "none") in fails("list")


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrial.discover.methods", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["list"])


def test_a_missing_optional_package_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
) -> None:
    def without_matplotlib() -> None:
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib.pyplot")

    monkeypatch.setattr("pretrial.discover.methods", without_matplotlib)
    assert "pip install 'pretrial[trial]'" in fails("list")


def test_a_warning_is_one_line_without_its_place(tmp_path) -> None:
    """In a process of its own: the test runner catches warnings."""
    code = (
        "import sys, warnings; from pretrial import cli; "
        "cli.COMMANDS['list'] = ('', 'warner:warn'); sys.exit(cli.main(['list']))"
    )
    (tmp_path / "warner.py").write_text(
        "import warnings\ndef warn(argv): warnings.warn('mind it')\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stderr == "pretrial: mind it\n"


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_tells_its_help(command: str, flag: str, capsys) -> None:
    try:
        code = cli.main([command, flag])
    except SystemExit as end:  # of the parser of options
        code = end.code
    assert code == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"usage: pretrial {command}")
    assert told.err == ""
