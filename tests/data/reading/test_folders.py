"""Folders with files of several kinds: one kind is read, and what was left out is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretrial.api.data import Source
from pretrial.api.data import load as load_and_tell
from pretrial.data.reading.sources import load
from pretrial.errors import UserError


def test_sources_beside_a_table_are_read(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for name in ("a", "b"):
        (tmp_path / "src" / f"{name}.py").write_text(f"{name} = 1\n")
    (tmp_path / "fixture.csv").write_text("id,text\n1,hi\n")
    rows = load(tmp_path)
    assert [row["path"] for row in rows] == ["src/a.py", "src/b.py"]
    (told,) = rows.skipped
    assert told.startswith("1 data files (fixture.csv, ...) beside the texts")


def test_rows_beside_notes_are_read(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n')
    for name in ("README.md", "LICENSE", "CITATION.cff"):
        (tmp_path / name).write_text("about")
    rows = load(tmp_path)
    assert list(rows) == [{"text": "a"}]
    assert rows.skipped == []


def test_a_folder_of_nothing_but_a_readme_is_read(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("about")
    assert [row["text"] for row in load(tmp_path)] == ["about"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    for number in (1, 2):
        image.new("L", (8, 8)).save(tmp_path / f"{number}.png")
    return tmp_path


def test_metadata_is_given_to_its_images(pictures: Path) -> None:
    rows = [{"file_name": "1.png", "text": "a cat", "label": 3}]
    (pictures / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = load(pictures)
    assert first == {
        "image": str(pictures / "1.png"),
        "path": "1.png",
        "text": "a cat",
        "label": 3,
    }
    assert second == {"image": str(pictures / "2.png"), "path": "2.png"}


def test_metadata_that_names_no_file_is_refused(pictures: Path) -> None:
    (pictures / "metadata.csv").write_text("file_name,text\n3.png,a dog\n")
    with pytest.raises(UserError, match=r"row 0: its file_name '3\.png' is no file beside it"):
        load(pictures)


def test_what_is_left_out_is_told_at_the_command_line(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "notes.txt").write_text("by a friend")
    assert len(load_and_tell(Source(str(pictures)))) == 2
    assert "1 texts (notes.txt, ...) beside the images" in capsys.readouterr().err
