"""Prompted tasks: answers among the choices, and sentences that follow."""

from pretrial.compare.kit import prompted_tasks as tasks


def test_tasks_have_their_answer_among_the_choices():
    docstrings = [{"text": "one two three", "label": label} for label in "abcde"]
    rows = tasks.procedural(20, docstrings, 0)
    assert len({row["task"] for row in rows}) == 8
    assert set(tasks.HELD_OUT) < {row["task"] for row in rows}
    for row in rows:
        assert row["target"] in row["choices"]
        assert len(set(row["choices"])) == len(row["choices"]) >= 2
    sort = next(row for row in rows if row["task"] == "sort")
    assert sort["target"].split() == sorted(sort["target"].split())
    assert rows == tasks.procedural(20, docstrings, 0)
    assert all(tasks.task_of(row["input"]) == row["task"] for row in rows)
    assert tasks.task_of("whatever") == ""


def test_next_sentences_are_of_four_texts():
    texts = [{"text": f"This is text number {n}. It has a second one, {n}."} for n in range(9)]
    rows = tasks.next_sentence(texts, 5, 0)
    assert len(rows) == 5
    for row in rows:
        number = row["input"].split()[-1].rstrip(".")
        assert row["target"] == f" It has a second one, {number}."
        assert len(set(row["choices"])) == 4
