"""What the pages of docs/ show and name is there."""

from __future__ import annotations

import re
from pathlib import Path

from pretrial.check.checks import CHECKS
from pretrial.cli import COMMANDS
from pretrial.cli.options import merge, names
from pretrial.cli.train import parts_of
from pretrial.discover import load, methods
from pretrial.train.budget import Budget

ROOT = Path(__file__).parent.parent
CONTRIBUTING = (ROOT / "docs" / "contributing.md").read_text()
EXAMPLE = ROOT / "tests" / "check" / "own_methods" / "vision" / "two_views.py"


def test_the_worked_example_is_the_method_that_is_tested() -> None:
    pieces = re.findall(r"```python\n(.*?)\n```", CONTRIBUTING, flags=re.DOTALL)
    assert len(pieces) == 5
    squeezed = [
        re.sub(r"\n+", "\n", text).strip() for text in ("\n".join(pieces), EXAMPLE.read_text())
    ]
    assert squeezed[0] == squeezed[1]


def test_commands_and_counts_are_those_that_there_are() -> None:
    for command in re.findall(r"^(?:\$ )?pretrial (\w+)", CONTRIBUTING, flags=re.MULTILINE):
        assert command in COMMANDS
    assert f"all {len(CHECKS)} checks passed" in CONTRIBUTING
    assert f"# {len(CHECKS)} checks;" in CONTRIBUTING
    for name in re.findall(r"^(?:ok|FAIL)  +([\w ]+?)(?::|$)", CONTRIBUTING, flags=re.MULTILINE):
        assert name.replace(" ", "_") in {check.__name__ for check in CHECKS}


def test_the_page_on_training_names_what_there_is() -> None:
    text = (ROOT / "docs" / "training.md").read_text()
    commands = re.findall(r"^pretrial (\w+)(.*)$", text, flags=re.MULTILINE)
    assert len(commands) > 5
    for command, _ in commands:
        assert command in COMMANDS
    known = set(names(merge(**parts_of(load("electra"), load("electra").config()))))
    for option in re.findall(r"(--[a-z][a-z-]+)", text):
        assert option in known | {"--config", "--help"}, option
    for budget in re.findall(r"`([\de.]+[a-z]+)`", text):
        Budget.parse(budget)


def test_files_that_are_named_are_there() -> None:
    text = CONTRIBUTING + (ROOT / "docs" / "glossary.md").read_text()
    for path in re.findall(r"`((?:[a-z_]+/)+(?:\w+\.py)?)`", text):
        places = (ROOT / path, ROOT / "src" / "pretrial" / path)
        assert any(place.exists() for place in places), path
    assert "mlm" in methods()
