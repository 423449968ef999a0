"""Files of installed packages."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from pretrial.data.builtin import installed
from pretrial.data.builtin.catalogue import builtin
from pretrial.data.builtin.installed import LANGUAGES, installed_code, is_test
from pretrial.data.reading.sources import load
from pretrial.errors import UserError


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two packages and one under development."""
    _package(tmp_path, "Zeta_Tools", {"zeta/b.py": b"b = 1\r\n", "zeta/a.py": b"a = '\xff'\n"})
    _package(
        tmp_path,
        "alpha",
        {
            "alpha/__init__.py": b"\n",
            "alpha/core.py": b"core = 1\n",
            "alpha/fast.c": b"int x;\n",
            "alpha/table.py": b"T = [" + b"1, " * 1000 + b"]\n",
            "alpha/tests/test_core.py": b"import alpha\n",
            "alpha/readme.txt": b"text\n",
            "../../bin/run.py": b"",
        },
    )
    _package(tmp_path, "mine", {"mine/x.py": b"x = 1\n"})
    (tmp_path / "mine-1.0.dist-info" / "direct_url.json").write_text('{"dir_info": {}}')
    found = list(metadata.distributions(path=[str(tmp_path)]))
    monkeypatch.setattr(installed.metadata, "distributions", lambda: found)
    return tmp_path


def _package(site: Path, name: str, files: dict[str, bytes]) -> None:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in files))
    for path, content in files.items():
        if not path.startswith(".."):
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_bytes(content)


@pytest.mark.usefixtures("site")
def test_files_come_by_package_and_path() -> None:
    rows = list(installed_code())
    assert [row["path"] for row in rows] == [
        "alpha/core.py",
        "alpha/fast.c",
        "alpha/table.py",
        "alpha/tests/test_core.py",
        "zeta/a.py",
        "zeta/b.py",
    ]
    assert [row["repo"] for row in rows] == ["alpha"] * 4 + ["zeta-tools"] * 2
    assert rows[1]["language"] == "c"
    assert rows[4]["text"] == "a = '\ufffd'\n"  # not UTF-8, and kept
    assert rows[5]["text"] == "b = 1\n"
    assert set(rows[0]) == {"text", "path", "repo", "language"}


@pytest.mark.usefixtures("site")
def test_options_choose() -> None:
    def paths(**options: object) -> list[str]:
        return [row["path"] for row in builtin("installed-code", **options)]

    assert paths(packages="zeta.tools") == ["zeta/a.py", "zeta/b.py"]
    assert "alpha/tests/test_core.py" not in paths(tests=0)
    assert paths(languages="c") == ["alpha/fast.c"]
    assert "alpha/table.py" not in paths(max_bytes=1000)
    query = "builtin:installed-code?packages=alpha,Zeta-Tools&tests=0&languages=python"
    assert len(load(query)) == 4


@pytest.mark.usefixtures("site")
def test_wrong_options_name_the_mend() -> None:
    with pytest.raises(UserError, match=r"'alpa' is not installed \(nearest: alpha\): pip install"):
        installed_code(["alpa"])
    with pytest.raises(UserError, match="no language 'pyton'; nearest: python"):
        installed_code(languages=["pyton"])


def test_a_package_stays_in_one_split() -> None:
    found = "numpy,packaging,safetensors,tokenizers,tyro"
    parts = [
        {row["repo"] for row in builtin("installed-code", packages=found, split=split)}
        for split in ("train", "valid", "test")
    ]
    assert set.union(*parts) == set(found.split(","))
    assert sum(map(len, parts)) == 5


def test_tests_are_told_by_folder_or_name() -> None:
    assert is_test("torch/testing/_internal/common.py")
    assert is_test("ray/foo_test.cc")
    assert is_test("numpy/conftest.py")
    assert not is_test("numpy/latest.py")
    assert not is_test("contest/entry.py")
    assert "python" in LANGUAGES.values()
