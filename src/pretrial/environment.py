"""Where a trial ran: commit, versions, processor."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from pretrial import __version__

_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scipy")


@cache
def commit() -> str:
    """The commit of the source tree, with "+" where files differ from it; "" when installed."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        found = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True)
        return found.stdout.strip() if found.returncode == 0 else ""

    try:
        name = git("rev-parse", "--short=12", "HEAD")
        if not name or not git("ls-files", Path(__file__).name):
            return ""  # no repository, or one that merely holds the environment
        return name + ("+" if git("status", "--porcelain", "--", str(here.parent)) else "")
    except OSError:
        return ""


def environment() -> dict[str, str | int]:
    """Versions and machine, as plain values."""
    versions = {"python": platform.python_version(), "pretrial": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {**versions, "system": platform.platform(), "processor": _processor(), "cores": cores()}


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
