"""Options from dataclasses and signatures, and what is said of mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from pretrial.cli import options
from pretrial.errors import UserError


@dataclass(frozen=True)
class Inner:
    """Inside.

    Attributes:
        rate: of something.
    """

    rate: float = 1.0


@dataclass(frozen=True)
class Outer:
    """Outside.

    Attributes:
        size: how large.
        kind: which.
        inner: nested.
        flag: whether.
        widths: several.
    """

    size: int = 1
    kind: Literal["a", "b"] = "a"
    inner: Inner = Inner(2.0)
    flag: bool = False
    widths: tuple[int, ...] = (1, 2)
    published: ClassVar[dict[str, float]] = {}

    def __post_init__(self) -> None:
        if self.size < 0:
            raise UserError("--size must be at least 0")


@dataclass(frozen=True)
class Needed:
    """Required.

    Attributes:
        path: where.
    """

    path: Path


def parse(*words: str) -> Any:
    return options.parse(options.merge(needed=Needed, outer=Outer(size=7)), words, prog="prog")


def test_parts_stand_side_by_side_with_the_defaults_of_instances() -> None:
    parsed = parse("--path", "x", "--inner.rate", "3", "--flag", "--widths", "4", "5", "6")
    assert parsed.needed == Needed(Path("x"))
    assert parsed.outer == Outer(7, "a", Inner(3.0), True, (4, 5, 6))


def test_underscores_are_as_good_as_hyphens() -> None:
    def ability(self: Any, examples: Any, *, num_samples: int = 3) -> None:
        """Does."""

    cls = options.from_signature(ability, "Ability")
    parsed: Any = options.parse(cls, ["--num_samples", "5"], prog="prog")
    assert parsed.num_samples == 5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--sise", "3"], "prog has no option --sise; the nearest: --size"),
        (["--inner.rat=3"], "--inner.rate"),
        (["--path", "x", "--size", "many"], "'many'"),
        (["--path", "x", "--kind", "c"], "'c'"),
        (["--path"], "--path"),
        ([], "missing --path"),
        (["--path", "x", "word"], "word"),
        (["--path", "x", "--size", "-1"], "--size must be at least 0"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], told: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(*words)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not set("│╭╰─") & set(str(caught.value))


def test_peek_passes_over_the_other_options() -> None:
    parsed = options.peek(Inner, ["--size", "x", "--rate", "3", "--flag"], prog="prog")
    assert parsed == Inner(3.0)


def test_an_ability_gives_its_keyword_only_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    def ability(
        self: Any, examples: list[str], *, seed: int, mode: Literal["x", "y"] = "x"
    ) -> None:
        """Does it.

        Args:
            seed: of the drawing.
            mode: how it is done.
        """

    cls = options.from_signature(ability, "Ability")
    parsed: Any = options.parse(cls, ["--seed", "4"], prog="prog")
    assert (parsed.seed, parsed.mode) == (4, "x")
    with pytest.raises(SystemExit) as exit_:
        options.parse(cls, ["--help"], prog="prog")
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert "how it is done" in shown
    assert "examples" not in shown
