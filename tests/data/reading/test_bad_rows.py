"""Rows that cannot be used: told by their number in the file, and left out where that is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretrial import discover
from pretrial.cli import main
from pretrial.data.reading.sources import load
from pretrial.data.rows import Rows, leaving_out, texts
from pretrial.data.splits import hold_out
from pretrial.errors import UserError
from pretrial.evaluate.generation import measure_generation
from pretrial.evaluate.robustness import renamed_functions

GOOD = [{"text": f"The keeper counted {n} gulls and wrote it in a book."} for n in range(24)]


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(("value", "what"), [(None, "empty"), (7, "a int"), (["a"], "a list")])
def test_the_number_told_is_that_of_the_file(tmp_path: Path, value: object, what: str) -> None:
    rows = load(write(tmp_path / "t.jsonl", [*GOOD, {"text": value}]))
    with pytest.raises(UserError, match=f"'text' of row 24 is {what}"):
        texts(rows)
    for part in hold_out(rows, 0.5, seed=0):
        if any(row["text"] == value for row in part):
            with pytest.raises(UserError, match="'text' of row 24 is"):
                texts(part)
    with pytest.raises(UserError, match="'text' of row 24 is"):
        texts(rows[20:])


def test_such_rows_are_left_out_where_that_is_asked(tmp_path: Path) -> None:
    rows = load(write(tmp_path / "t.jsonl", [{"text": None}, *GOOD, {"other": 1}]))
    reasons: list[str] = []
    with leaving_out(reasons):
        assert list(texts(rows)) == [row["text"] for row in GOOD]
    assert len(reasons) == 2
    with (
        leaving_out([]),
        pytest.raises(UserError, match="no row can be used; the first: 'text' of row 0"),
    ):
        texts(rows[:1])


@pytest.mark.parametrize("on_disk", [[], ["--data-on-disk"]])
def test_training_leaves_them_out(tmp_path: Path, capsys, on_disk: list[str]) -> None:
    data = write(tmp_path / "t.jsonl", [*GOOD[:12], {"text": None}, *GOOD[12:]])
    command = ["train", "mlm", "--tiny", "--budget", "2steps", "--data", data, *on_disk]
    assert main([*command, "--out", str(tmp_path / "a")]) == 2
    assert "'text' of row" in capsys.readouterr().err
    assert main([*command, "--skip-bad", "--out", str(tmp_path / "b")]) == 0
    assert "left out 1 rows" in capsys.readouterr().err


def test_half_of_a_surrogate_pair_is_a_broken_line(tmp_path: Path, capsys) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a smile \\ud83d cut"}\n{"text": "whole \\ud83d\\ude00"}\n')
    with pytest.raises(UserError, match=r"line 1 holds \\ud83d, half of a surrogate pair"):
        load(path)
    rows = load(path, skip_bad=True)
    assert [row["text"] for row in rows] == ["whole 😀"]
    listed = tmp_path / "t.json"
    listed.write_text('[{"a": {"b": ["\\udc00"]}}, {"a": 1}]')
    with pytest.raises(UserError, match=r"item 0 holds \\udc00"):
        load(listed)
    assert list(load(listed, skip_bad=True)) == [{"a": 1}]


def test_clean_tells_rows_without_a_text(tmp_path: Path, capsys) -> None:
    good = write(tmp_path / "ok.jsonl", GOOD)
    nulls = write(tmp_path / "null.jsonl", [*GOOD, {"text": None}])
    other = write(tmp_path / "body.jsonl", [{"body": row["text"]} for row in GOOD])
    out = tmp_path / "kept.jsonl"
    assert main(["clean", "--data", nulls, "--out", str(out)]) == 2
    assert "'text' of row 24 is empty" in capsys.readouterr().err
    assert not out.exists()
    assert main(["clean", "--data", nulls, "--skip-bad", "--out", str(out)]) == 0
    assert "left out 1 rows" in capsys.readouterr().err
    out.unlink()
    assert main(["clean", "--data", good, "--reference", nulls, "--out", str(out)]) == 0
    assert "left out 1 rows" in capsys.readouterr().err
    out.unlink()
    assert main(["clean", "--data", good, "--reference", other, "--out", str(out)]) == 2
    assert "no field 'text'" in capsys.readouterr().err


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"\xef\xbb\xbfx = 1\n")
    assert [row["text"] for row in load(tmp_path)] == ["x = 1\n"]


@pytest.mark.parametrize(
    ("slug", "good", "bad"),
    [
        ("mlm", {"text": "A gull."}, {"text": None}),
        ("mae", {"image": "a.png", "label": 1}, {"image": "a.png", "label": [1, 2]}),
        ("e2s2", {"text": "A gull."}, {"text": 3}),
        ("yi", {"text": "A gull."}, {"text": None}),
        ("never_from_scratch", {"text": "A gull.", "label": 1}, {"text": "", "label": 1}),
        ("codet5", {"code": "x = 1"}, {"code": None}),
        ("codet5p", {"code": "x = 1"}, {"code": None}),
        ("unixcoder", {"code": "x = 1"}, {"code": 3}),
        ("api_continual", {"text": "x = f(1)"}, {"text": None}),
        ("snowcoder", {"text": "x = f(1)"}, {"text": None}),
    ],
)
def test_every_method_tells_the_row_of_the_file(slug: str, good: dict, bad: dict) -> None:
    """Also of a part of the rows, such as what was not held out."""
    read = discover.load(slug).method.read
    with pytest.raises(UserError, match=r"row 9\b"):
        list(read(Rows([good, bad], numbers=[4, 9])))
    if slug not in ("codet5", "snowcoder"):  # which have a way of their own
        reasons: list[str] = []
        with leaving_out(reasons):
            assert len(read(Rows([good, bad, good]))) == 2
        assert len(reasons) == 1


def test_eval_leaves_them_out_with_their_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**row, "label": number % 2} for number, row in enumerate(GOOD)]
    data = write(tmp_path / "ok.jsonl", rows)
    words = ["train", "mlm", "--tiny", "--budget", "1steps", "--device", "cpu", "--data", data]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    worse = write(tmp_path / "t.jsonl", [*rows[:3], {"text": None, "label": 1}, *rows[3:]])
    probe = ["eval", str(tmp_path / "run"), "--task", "probe", "--num-train", "10", "--data", worse]
    assert main(probe) == 2
    assert "'text' of row 3 is empty" in capsys.readouterr().err
    assert main([*probe, "--skip-bad"]) == 0
    told = capsys.readouterr()
    assert "left out 1 rows" in told.err
    assert "'text' of row 3" in told.err
    assert "num_test: 14" in told.out
    pairs = [{"query": row["text"][:24], "document": row["text"]} for row in GOOD]
    pairs = [*pairs[:3], {"query": None, "document": "a gull"}, *pairs[:3], *pairs[3:]]
    search = ["eval", str(tmp_path / "run"), "--task", "retrieval", "--data"]
    search.append(write(tmp_path / "pairs.jsonl", pairs))
    assert main(search) == 2
    assert "'query' of row 3 is empty (null)" in capsys.readouterr().err
    assert main([*search, "--skip-bad"]) == 0
    told = capsys.readouterr()
    assert "'query' of row 3 is empty (null)" in told.err
    assert "num_documents: 24" in told.out


def test_what_is_to_be_written_must_be_a_text() -> None:
    class Writer:
        def generate_texts(self, sources: list[str], **options: object) -> list[str]:
            raise AssertionError("texts were written first")

    rows = [{"source": "a", "target": "b"}, {"source": "a", "target": None}]
    with pytest.raises(UserError, match=r"'target' of row 1 is empty"):
        measure_generation(Writer(), rows)
    with pytest.raises(UserError, match=r"'source' of row 0 is a int"):
        measure_generation(Writer(), [{"source": 3, "target": "b"}])
    with pytest.raises(UserError, match=r"'code' of row 0 is a list"):
        renamed_functions([{"code": ["x"]}])
