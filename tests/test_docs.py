"""What docs/contributing.md shows is what the tests of `pretrial check` run."""

from __future__ import annotations

import re
from pathlib import Path

from pretrial.check.checks import CHECKS
from pretrial.cli import _COMMANDS
from pretrial.discover import methods

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
        assert command in _COMMANDS
    assert f"all {len(CHECKS)} checks passed" in CONTRIBUTING
    assert f"# {len(CHECKS)} checks;" in CONTRIBUTING
    for name in re.findall(r"^(?:ok|FAIL)  +([\w ]+?)(?::|$)", CONTRIBUTING, flags=re.MULTILINE):
        assert name.replace(" ", "_") in {check.__name__ for check in CHECKS}


def test_files_that_are_named_are_there() -> None:
    text = CONTRIBUTING + (ROOT / "docs" / "glossary.md").read_text()
    for path in re.findall(r"`((?:[a-z_]+/)+(?:\w+\.py)?)`", text):
        places = (ROOT / path, ROOT / "src" / "pretrial" / path)
        assert any(place.exists() for place in places), path
    assert "mlm" in methods()
