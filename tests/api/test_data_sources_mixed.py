"""Several sources with weights, texts made of several fields, and data sets that are streamed."""

import itertools
import json
from collections import Counter
from pathlib import Path

import pytest

from pretrial.api import data, training
from pretrial.api.data import Source
from pretrial.cli import main, options
from pretrial.errors import UserError


def write(path, texts, **fields):
    path.write_text("".join(json.dumps({"text": t, **fields}) + "\n" for t in texts))
    return str(path)


@pytest.fixture
def two(tmp_path):
    few = write(tmp_path / "few.jsonl", [f"few {i}" for i in range(10)])
    many = write(tmp_path / "many.jsonl", [f"many {i}" for i in range(90)])
    return few, many


def shares(rows):
    counts = Counter(row["text"].split()[0] for row in rows)
    return {name: count / len(rows) for name, count in counts.items()}


def test_sources_are_mixed_by_their_weights_and_no_row_is_lost(two):
    few, many = two
    rows = data.load(Source((f"{few}:0.7", f"{many}:0.3")))
    assert shares(rows)["few"] == pytest.approx(0.7, abs=0.01)
    assert len({row["text"] for row in rows}) == 100


def test_without_weights_sources_are_joined_in_their_order(two):
    rows = data.load(Source(two))
    assert [row["text"] for row in rows][8:12] == ["few 8", "few 9", "many 0", "many 1"]
    assert [row["text"] for row in data.stream(Source(two))] == [row["text"] for row in rows]
    assert rows.source == f"{two[0]} and {two[1]}"


@pytest.mark.parametrize("on_disk", [False, True])
def test_training_rows_are_mixed_and_held_out_rows_come_once(two, tmp_path, on_disk):
    from pretrial import discover

    few, many = two
    asked = training.TrainingOptions(held_out_ratio=0.2)
    placed = training.RunOptions(tmp_path / "run", data_on_disk=on_disk)
    made = training.prepare(
        discover.load("mlm"), None, Source((f"{few}:1", f"{many}:1")), asked, placed
    )
    seen, aside = (list(part) for part in (made.examples, made.held_out))
    counts = Counter(text.split()[0] for text in seen)
    assert counts["few"] == counts["many"]
    assert len(set(aside)) == len(aside)
    assert not set(seen) & set(aside)
    assert len(set(seen) | set(aside)) == 100


def test_the_number_behind_a_single_source_is_no_weight():
    assert data.each_of(Source(("owner/name:2020",)))[0].data == ("owner/name:2020",)


def test_a_folder_that_may_not_be_read_is_a_sentence(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "x")

    monkeypatch.setattr(Path, "rglob", refuse)
    with pytest.raises(UserError, match="Permission denied"):
        data.load(Source((str(tmp_path),)))


@pytest.mark.parametrize(
    ("ends", "words"), [((":0.5", ""), "has none"), ((":0", ":1"), "a weight of --data is 0")]
)
def test_weights_that_make_no_sense_are_refused(two, ends, words):
    with pytest.raises(UserError, match=words):
        data.load(Source(tuple(name + end for name, end in zip(two, ends, strict=True))))


def test_fields_are_for_the_sources_that_have_them(tmp_path):
    a = write(tmp_path / "a.jsonl", ["one"])
    (tmp_path / "b.jsonl").write_text('{"body": "two"}\n')
    rows = data.load(Source((a, str(tmp_path / "b.jsonl")), fields=("text=body",)))
    assert [row["text"] for row in rows] == ["one", "two"]
    with pytest.raises(UserError, match="none of"):
        data.load(Source((a, str(tmp_path / "b.jsonl")), fields=("text=content",)))


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_text_is_made_of_several_fields(tmp_path, on_disk):
    from pretrial.api import on_disk as index

    path = tmp_path / "books.jsonl"
    path.write_text('{"title": "T", "body": "B", "year": 1}\n{"title": "U", "body": null}\n')
    source = Source((str(path),), text_template=r"{title}\n{body} {{x}}")
    rows = index.load(source, tmp_path / "run", "data", 0.0, 0)[0] if on_disk else data.load(source)
    assert [row["text"] for row in rows] == ["T\nB {x}", "U\n {x}"]
    assert rows[0]["year"] == 1


@pytest.mark.parametrize(
    ("template", "words"),
    [("{titel}", "the nearest: title"), ("{title", "is a brace itself"), ("title", "names no fi")],
)
def test_a_template_that_does_not_fit_is_refused(tmp_path, template, words):
    path = tmp_path / "books.jsonl"
    path.write_text('{"title": "T"}\n')
    with pytest.raises(UserError, match=words):
        data.load(Source((str(path),), text_template=template))


def test_a_limit_reads_no_further(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\nno json\n')
    assert len(data.load(Source((str(path),), limit=2))) == 2
    with pytest.raises(UserError, match="line 3"):
        data.load(Source((str(path),)))


def test_a_limited_data_set_of_the_hub_is_streamed(monkeypatch):
    import datasets

    asked = []

    def endless():
        for number in itertools.count():
            yield {"text": f"row {number}"}

    def load_dataset(name, config, streaming):
        asked.append(streaming)
        return datasets.IterableDataset.from_generator(endless)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert len(data.load(Source(("owner/name",), limit=3))) == 3
    assert asked == [True]


def test_an_option_of_several_values_may_be_repeated():
    made = options.parse(
        Source, ["--data", "a", "b", "--limit", "3", "--data=c", "--fields", "x=y"], prog="p"
    )
    assert (made.data, made.limit, made.fields) == (("a", "b", "c"), 3, ("x=y",))


def test_a_run_on_two_sources_says_both_and_goes_on(two, tmp_path, capsys):
    few, many = two
    words = ["train", "mlm", "--tiny", "--budget", "3steps", "--out", str(tmp_path / "run")]
    words += ["--data", f"{few}:0.5", "--data", f"{many}:0.5"]
    assert main(words) == 0
    assert main(words) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["arguments"]["data"] == [f"{few}:0.5", f"{many}:0.5"]
    assert main([*words[:-1], f"{many}:0.4"]) == 2
    assert "holds a run with --data" in capsys.readouterr().err


def test_the_card_notes_the_licence_of_each_built_in_source():
    note = data.note(["builtin:stdlib-docstrings:0.5", "builtin:digits:0.3", "mine.jsonl:0.2"])
    assert note.count("licence") == 2
