"""The record of a run, and configs there and back through JSON."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from pretrial.api import runs
from pretrial.errors import UserError
from pretrial.plain import plain


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Config:
    size: int = 3
    widths: tuple[int, ...] = ()
    parts: tuple[Inner, ...] = ()
    inner: Inner = Inner()
    most: int | None = None
    where: Path | None = None
    kind: Literal["a", "b"] = "a"
    known: ClassVar[dict[str, int]] = {"x": 1}


def record(**changes: object) -> runs.Record:
    made = runs.Record(
        slug="one",
        config={"size": 3, "inner": {"rate": 0.5}},
        arguments={"seed": 0, "data": "a.jsonl"},
        num_examples=10,
        num_held_out=1,
        environment={"torch": "2"},
        commit="",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config(4, (1, 2), (Inner(1.0), Inner()), Inner(2.0, (0.1, 0.2)), 7, Path("a/b"), "b"),
    ],
)
def test_a_config_comes_back_from_json(config: Config) -> None:
    assert runs.from_json(Config, json.loads(json.dumps(plain(config)))) == config


def test_a_config_of_another_version_names_what_is_unknown() -> None:
    with pytest.raises(UserError, match="its config has gone"):
        runs.from_json(Config, {"size": 1, "gone": 2})


def test_a_record_comes_back_from_its_folder(tmp_path: Path) -> None:
    record().write(tmp_path)
    assert runs.Record.read(tmp_path) == record()
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def check(now: runs.Record, older: runs.Record) -> None:
    now.check_options(older, Path("folder"))
    now.check_data(older, Path("folder"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"slug": "two"}, "a run of two, not of one"),
        ({"config": {"size": 3, "inner": {"rate": 0.1}}}, "--inner.rate 0.1, not 0.5"),
        ({"arguments": {"seed": 0, "data": "b.jsonl"}}, "--data b.jsonl, not a.jsonl"),
        ({"arguments": {"data": "a.jsonl"}}, "--seed unset, not 0"),
        ({"num_held_out": 2}, "began with 2 as num_held_out, now there are 1"),
    ],
)
def test_what_differs_is_named(changes: dict[str, object], told: str) -> None:
    with pytest.raises(UserError) as caught:
        check(record(), record(**changes))
    assert told in str(caught.value)


def test_other_versions_may_go_on() -> None:
    check(record(), record(environment={"torch": "3"}, commit="abc"))


def test_a_file_that_cannot_be_written_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "inner" / "run.json"
    runs.write_text(path, "old")

    def fail(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match=r"cannot write .*run\.json \(Input/output error\): make"):
        runs.write_text(path, "new")
    assert path.read_text() == "old"
