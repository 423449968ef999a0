"""Probe, fine-tuning and retrieval on texts, images and sounds, by the method's own `read`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pretrial import discover
from pretrial.errors import UserError
from pretrial.evaluate.examples import examples_of
from pretrial.evaluate.tasks import evaluate

SOUND = {"input": "audio", "sampling_rate": 4000, "seconds": 0.2, "num_mels": 8, "frames": 2}
NOUNS = ("list", "file", "name", "socket", "path", "item", "page", "word", "line", "key")
# What is read, by the field that a method requires first.
FIELDS = {"mae": "image", "mp3": "audio", "mlm": "text"}


def texts(num_rows: int = 40) -> list[dict[str, Any]]:
    rows = []
    for number in range(num_rows):
        noun, label = NOUNS[number // 2 % len(NOUNS)], ("open", "close")[number % 2]
        rows.append({"text": f"{label} {label} the {noun} and {label} it {number}", "label": label})
    return rows


def images(num_rows: int = 40) -> list[dict[str, Any]]:
    """A bright square in one of two corners."""
    rows = []
    for number in range(num_rows):
        image = np.random.default_rng(number).integers(0, 90, (8, 8), dtype=np.uint8)
        corner = number % 2 * 4
        image[corner : corner + 4, corner : corner + 4] += 150
        rows.append({"image": image, "label": number % 2})
    return rows


def sounds(num_rows: int = 40) -> list[dict[str, Any]]:
    """A low or a high tone in noise."""
    rows = []
    for number in range(num_rows):
        noise = np.random.default_rng(number).normal(0, 0.1, 900)
        tone = np.sin(2 * np.pi * (300, 1200)[number % 2] * np.arange(900) / 4000)
        audio = {"array": noise + tone, "sampling_rate": 4000}
        rows.append({"audio": audio, "label": ("low", "high")[number % 2]})
    return rows


ROWS = {"mae": images(), "mp3": sounds(), "mlm": texts()}


def made(slug: str) -> Any:
    """A method with random weights that reads the rows of its slug."""
    loaded = discover.load(slug)
    config = loaded.config.tiny()
    if slug == "mp3":
        config = replace(config, **SOUND)
    torch.manual_seed(0)
    return loaded.method.build(config, data=loaded.method.read(ROWS[slug])).eval()


@pytest.fixture(scope="module", params=list(ROWS))
def subject(request: Any) -> tuple[str, Any, list[dict[str, Any]]]:
    """A slug, its method, and labelled rows."""
    return request.param, made(request.param), ROWS[request.param]


def renamed(rows: list[dict[str, Any]], **names: str) -> list[dict[str, Any]]:
    return [{names.get(key, key): value for key, value in row.items()} for row in rows]


@pytest.mark.parametrize("task", ["probe", "finetune"])
def test_labels_are_learnt_whatever_the_modality(subject: Any, task: str) -> None:
    _, method, rows = subject
    options = (
        {"epochs": 20, "batch_size": 10, "lr": 3e-3, "pooling": "mean"}
        if task == "finetune"
        else {}
    )
    result = evaluate(task, method, rows, num_train=20, **options)
    assert result.metrics["accuracy"].value >= 0.8
    assert result.notes["num_classes_guessed"] == 2
    assert result.notes["num_train"] == result.notes["num_test"] == 20


def test_fields_of_other_names_are_read_as_the_method_calls_them(subject: Any) -> None:
    slug, method, rows = subject
    wanted = evaluate("probe", method, rows, num_train=20)
    other = renamed(rows, **{FIELDS[slug]: "content", "label": "kind"})
    assert evaluate("probe", method, other, num_train=20, text="content", label="kind") == wanted
    with pytest.raises(UserError, match=r"no field 'sense'.*found: content, kind"):
        evaluate("probe", method, other, text="sense", label="kind")
    with pytest.raises(UserError, match=f"'{FIELDS[slug]}'"):
        evaluate("probe", method, other, label="kind")


def test_queries_find_their_documents(subject: Any) -> None:
    slug, method, rows = subject
    pairs = [{"query": row[FIELDS[slug]], "document": row[FIELDS[slug]]} for row in rows]
    result = evaluate("retrieval", method, [*pairs, pairs[0]])
    assert result.metrics["mrr"].value == 1.0
    assert result.notes == {"num_queries": 40, "num_documents": 40}


def test_rows_of_one_label_are_alike(subject: Any) -> None:
    _, method, rows = subject
    result = evaluate("retrieval", method, rows, label="label", k=(1,))
    assert result.metrics["map@r"].value > 0.6
    assert result.notes == {"num_queries": 40, "num_documents": 40}
    with pytest.raises(UserError, match="a label that several rows share"):
        evaluate("retrieval", method, [rows[0], rows[1]], label="label")


def test_bm25_searches_texts_alone(subject: Any) -> None:
    slug, method, rows = subject
    if slug == "mlm":
        pytest.importorskip("bm25s")
        assert "bm25 mrr" in evaluate("retrieval", method, rows, label="label", baseline=True).items
        return
    with pytest.raises(UserError, match="texts alone"):
        evaluate("retrieval", method, rows, label="label", baseline=True)


def test_a_method_of_code_reads_texts_as_code() -> None:
    method = discover.load("contrabert").method
    given = Bare(method)
    assert [each.code for each in examples_of(given, ["a = 1", {"text": "b = 2"}])] == [
        "a = 1",
        "b = 2",
    ]
    rows = [{"code": "a = 1", "comment": "sets a", "language": "java"}]
    assert examples_of(given, rows)[0].comment == "sets a"
    [example] = examples_of(given, rows, "comment")  # which cannot be read without code
    assert (example.code, example.language) == ("sets a", "java")


def test_a_text_is_no_image() -> None:
    with pytest.raises(UserError, match="neither 'image' nor 'audio'"):
        evaluate("probe", made("mae"), ROWS["mlm"], num_train=20)


def test_a_field_that_is_enough_alone_keeps_its_name() -> None:
    method = Bare(discover.load("further_pretraining").method)
    [example] = examples_of(method, [{"image": "a.png", "text": "a dog"}], "text")
    assert (example.field, example.content) == ("text", "a dog")


def test_every_row_makes_one_example() -> None:
    class Lines:
        """Reads each line of a text."""

        @staticmethod
        def read(rows: list[dict[str, str]]) -> list[str]:
            return [line for row in rows for line in row["text"].splitlines()]

    with pytest.raises(UserError, match="Lines makes 2 examples of 1 rows"):
        examples_of(Lines(), [{"text": "a\nb"}])


def test_the_old_name_of_a_task_is_still_read(capsys: pytest.CaptureFixture[str]) -> None:
    method, rows = made("mae"), ROWS["mae"]
    options = {"num_train": 20, "epochs": 1, "batch_size": 20}
    old = evaluate("classify", method, rows, **options)
    assert "the task classify is called finetune now" in capsys.readouterr().err
    assert evaluate("finetune", method, rows, **options) == old


class Bare:
    """A method that is asked for nothing but its `read`; its class is found like any other."""

    def __new__(cls, kind: type) -> Any:
        return object.__new__(kind)
