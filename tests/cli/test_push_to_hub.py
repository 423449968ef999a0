"""`export --push-to-hub`: refused before the work where it cannot be, else done behind it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from pretrial.cli import main

NAME = "me/my-model"


class FakeApi:
    """Takes everything; `fails` raises."""

    calls: list[tuple[str, Any]] = []
    fails = ""

    def _call(self, name: str, value: Any = None) -> None:
        if name == self.fails:
            raise OSError(f"no {name} today")
        self.calls.append((name, value))

    def whoami(self) -> None:
        self._call("whoami")

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> Any:
        assert private
        assert exist_ok
        self._call("create_repo", name)
        return SimpleNamespace(repo_id=name)

    def upload_folder(self, *, folder_path: str, repo_id: str) -> None:
        assert (Path(folder_path) / "README.md").is_file()
        self._call("upload_folder", repo_id)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[FakeApi]:
    """The Hub, as if it were there."""
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(FakeApi, "calls", [])
    monkeypatch.setattr(FakeApi, "fails", "")
    return FakeApi


@pytest.fixture
def run(texts: Path, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    words = ["train", "bigram", "--data", str(texts), "--budget", "2steps", "--out", str(out)]
    assert main(words) == 0
    return out


def test_a_folder_is_uploaded_once_it_is_whole(hub, run: Path, tmp_path: Path) -> None:
    to = tmp_path / "to"
    assert main(["export", str(run), "--to", str(to), "--push-to-hub", NAME]) == 0
    assert hub.calls == [("whoami", None), ("create_repo", NAME), ("upload_folder", NAME)]


def test_what_cannot_be_uploaded_is_refused_before_anything_is_written(
    hub, run: Path, tmp_path: Path, fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "to"
    words = ["export", run, "--to", to, "--push-to-hub"]
    assert "is no name on the Hub" in fails(*words, "my model")
    hub.fails = "whoami"
    assert "cannot log in to the Hub (no whoami today)" in fails(*words, NAME)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in fails(*words, NAME)
    assert "uploads a folder" in fails("export", run, "--to", "a.gguf", "--push-to-hub", NAME)
    assert not to.exists()


def test_the_folder_stays_where_the_upload_fails(hub, run: Path, tmp_path: Path, fails) -> None:
    hub.fails = "upload_folder"
    told = fails("export", run, "--to", tmp_path / "to", "--push-to-hub", NAME)
    assert f"`hf upload {NAME} {tmp_path / 'to'}`" in told
    assert (tmp_path / "to" / "README.md").is_file()
