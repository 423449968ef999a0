"""Files that are whole or as they were before."""

import threading

import pytest

from pretrial.files import whole_file, write_whole


def test_a_file_has_its_name_only_once_it_is_whole(tmp_path):
    path = tmp_path / "a.json"
    with whole_file(path) as file:
        file.write("Zü")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == "Zü".encode()
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_what_was_there_stays_when_writing_fails(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, "before")

    def fail():
        with whole_file(path) as file:
            file.write("after")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "gone" / "a.json", "text")


def test_several_may_write_one_file_at_once(tmp_path):
    path, start = tmp_path / "a.txt", threading.Barrier(4)

    def write(number):
        start.wait()
        for _ in range(20):
            write_whole(path, str(number) * 50_000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = path.read_text()
    assert len(text) == 50_000
    assert len(set(text)) == 1
    assert list(tmp_path.iterdir()) == [path]
