import json

import pytest

from pretrial.data.builtin import stdlib
from pretrial.data.builtin.disk_cache import cached, folder


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


class Maker:
    def __init__(self, value):
        self.value, self.calls = value, 0

    def __call__(self):
        self.calls += 1
        return self.value


def test_a_value_is_computed_once_for_the_same_parts():
    make = Maker([{"text": "größer\nals"}])
    assert [cached("words", [1, "a"], make) for _ in range(3)] == [make.value] * 3
    assert make.calls == 1


def test_other_parts_make_another_value():
    first, second = Maker(1), Maker(2)
    assert cached("words", ["3.11"], first) == 1
    assert cached("words", ["3.12"], second) == 2
    assert cached("words", ["3.11"], first) == 1
    assert (first.calls, second.calls) == (2, 1)
    assert len(list(folder().iterdir())) == 1


@pytest.mark.parametrize("damage", ["", "half", "no newline at all"])
def test_a_damaged_file_is_computed_anew(damage):
    make = Maker({"a": [1, 2]})
    cached("words", 0, make)
    path = folder() / "words.json"
    path.write_text(path.read_text()[:-3] if damage == "half" else damage)
    assert cached("words", 0, make) == {"a": [1, 2]}
    assert make.calls == 2
    assert json.loads(path.read_text().split("\n", 1)[1]) == {"a": [1, 2]}


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    folder().parent.joinpath("pretrial").write_text("a file where the folder should be")
    make = Maker(3)
    assert cached("words", 0, make) == 3
    assert cached("words", 0, make) == 3
    assert make.calls == 2


def test_the_library_is_parsed_once(monkeypatch):
    make = Maker([[{"code": "def f(): pass"}], [{"text": "says it"}]])
    monkeypatch.setattr(stdlib, "_parsed", make)
    for _ in range(2):
        stdlib._corpus.cache_clear()
        assert stdlib.stdlib_code() == [{"code": "def f(): pass"}]
        assert stdlib.stdlib_docstrings() == [{"text": "says it"}]
    stdlib._corpus.cache_clear()
    assert make.calls == 1
