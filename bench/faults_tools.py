"""What bench/faults.py knows of runs, and what it asks of the machine."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

DISK_MB = 32
SHIM = Path(__file__).with_name("faults.c")


def visible(out: Path) -> Iterator[Path]:
    """Files and folders below a folder that others may read; what goes meanwhile is passed over."""
    for folder, folders, files in os.walk(out):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in sorted([*folders, *files]):
            if not name.startswith("."):
                yield Path(folder) / name


def is_whole(path: Path) -> bool:
    """Whether a visible file or folder is all that it should be."""
    if path.is_dir():
        checkpoint = path.parent.parent.name == "stages"
        return not checkpoint or {"state.json", "weights.safetensors"} <= set(os.listdir(path))
    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".jsonl":
            content = path.read_bytes()
            for line in content.splitlines():
                json.loads(line)
            return content.endswith(b"\n") or not content
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 - it is no dict
                    file.get_tensor(name)
    except (ValueError, RuntimeError, SafetensorError):
        return False  # or removed meanwhile, which the caller finds out
    return True


def finished(out: Path) -> list[str]:
    """What a run has finished so far."""
    found = [*out.glob("stages/*/done"), *out.glob("artefacts/[!.]*"), *out.glob("model")]
    return [path.relative_to(out).as_posix() for path in found]


def next_of(plan: list[str], out: Path) -> str:
    """What a run is working on."""
    done = set(finished(out))
    name = next((name for name in plan if name not in done), "end")
    return last(name)


def last(name: str) -> str:
    """The name of a stage or artefact, without its folder."""
    return name.removesuffix("/done").rpartition("/")[2]


def weights(out: Path) -> dict[str, bytes]:
    """All weights that a finished run leaves, byte for byte."""
    files = [*out.glob("model/**/*.safetensors"), *out.glob("stages/*/done/*.safetensors")]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def preload(folder: Path) -> None:
    """Starts this script again under the shim, where there is a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return
    shim, orders = folder / "faults.so", folder / "orders"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", shim, SHIM], check=True)
    orders.write_bytes(bytes(24))
    names = {"LD_PRELOAD": shim, "PRETRIAL_FAULTS": orders, "PRETRIAL_FAULTS_FOLDER": folder}
    environment = {**os.environ, **{name: str(path) for name, path in names.items()}}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def shared_orders() -> Any:
    """The shim's shared memory as three integers; None without the shim."""
    path = os.environ.get("PRETRIAL_FAULTS")
    if path is None:
        return None
    with open(path, "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 24)).cast("l")


def small_disk(folder: Path) -> bool:
    """Mounts a small tmpfs that ends with this process; False where that is not allowed."""
    folder.mkdir()
    libc = ctypes.CDLL(None)
    new_mounts, private, recursive = 0x20000, 1 << 18, 1 << 14
    return (
        libc.unshare(new_mounts) == 0
        and libc.mount(b"none", b"/", None, private | recursive, None) == 0
        and libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=%dm" % DISK_MB) == 0
    )
