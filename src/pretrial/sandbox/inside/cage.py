"""Isolation, from inside the worker: namespaces, the private root, privileges and resource limits.

Two levels are built here. `namespaces`: the worker enters new user, mount, network, ipc, uts and
pid namespaces and a root file system that holds the standard library, read-only, and one empty
folder of bounded size. `rlimits`: where the kernel refuses that, programs still get resource
limits, a process group and (if we are root) a user of their own. See unshare(2),
user_namespaces(7), pivot_root(2).
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import sysconfig
from typing import Any

import private_root
import syscalls
from kernel import (
    ALL_NAMESPACES,
    CLONE_NEWNS,
    LINUX,
    NO_CAPABILITIES,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    THIS_PROCESS,
    libc,
    prctl,
)

kept: list[int] = []  # descriptors through which programs import


def private_uid() -> int:
    """A uid nobody uses, one per worker: the process limit and `kill(-1)` go by uid.

    The range is the one systemd reserves for such users.
    """
    return 61184 + os.getpid() % 4336


def become(uid: int) -> None:
    """Give up root for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def drop_capabilities() -> None:
    """Give up what the user namespace granted, for this process and all it starts."""
    libc("capset", THIS_PROCESS, NO_CAPABILITIES)


# --- namespaces -----------------------------------------------------------------------------------


def enter_namespaces(
    base: str, besides: list[str], packages: list[str], megabytes: int
) -> list[str]:
    """Enter the namespaces; the next child is pid 1 of the new pid namespace.

    As root the private root is built first, because an interpreter under /root is out of reach of
    the unprivileged uid; then root is given up, and only then comes the user namespace.

    Args:
        base: an empty folder, where the private root is put together.
        besides: what programs may read beside the standard library.
        packages: files and folders of packages that they may import.
        megabytes: size of the folder that programs work in.

    Returns:
        The layers now in force, as text.

    Raises:
        OSError: the kernel refused one of the steps; this process is then of no further use.
    """
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    was_root = os.geteuid() == 0
    if was_root:
        libc("unshare", CLONE_NEWNS)
        private_root.build(base, besides, packages)
        become(private_uid())
        prctl(PR_SET_DUMPABLE, 1)  # changing uid cleared it, and with it the access to our own maps
    uid, gid = os.getuid(), os.getgid()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    libc("unshare", ALL_NAMESPACES)
    _write(proc, "self/setgroups", "deny")
    _write(proc, "self/uid_map", f"{uid} {uid} 1")
    _write(proc, "self/gid_map", f"{gid} {gid} 1")
    _write(proc, "sys/user/max_user_namespaces", "0")  # no namespaces within
    os.close(proc)
    if not was_root:
        private_root.build(base, besides, packages)
    private_root.fresh_box(False, megabytes)
    prctl(PR_SET_DUMPABLE, 0)
    layers = ["user, pid, network, mount, ipc and uts namespaces", "a read-only private root"]
    return [*layers, "an unprivileged uid of its own"] if was_root else layers


def _write(folder: int, path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY, dir_fd=folder)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def isolate(config: dict[str, Any]) -> list[str]:
    """Put on the layers of the level asked for, but for those of each program's own process.

    With namespaces this forks, and only the child, pid 1 of the new pid namespace, returns.
    """
    if LINUX:
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # out of memory, the kernel should choose us
    filtered = ["a filter of system calls"] if syscalls.available() else []
    if config["isolation"] == "namespaces":
        room = config["readable"], config["packages"]["paths"], config["box_mb"]
        layers = enter_namespaces(config["folder"], *room)
        pid = os.fork()
        if pid:
            os.close(config["fd_in"])
            os.waitpid(pid, 0)
            os._exit(0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        return [*layers, "no capabilities, no new privileges", "resource limits", *filtered]
    if config["isolation"] == "none":
        return []
    layers = ["resource limits", *filtered]
    if LINUX:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        prctl(PR_SET_DUMPABLE, 0)
        layers.append("no new privileges")
    if os.geteuid() == 0:
        open_library(config["packages"]["folders"])
        os.chmod(config["folder"], 0o711)  # the programs' own folders are in it
        layers.append("an unprivileged uid of its own")
    return layers


# --- without namespaces ---------------------------------------------------------------------------


def open_library(packages: list[str]) -> None:
    """Keep the standard library importable for others, where it is under a folder closed to them.

    An interpreter under /root is such a case. A descriptor opened while still root leads past the
    closed folder, so the search path is rewritten to go through it.

    Args:
        packages: folders of packages, to be kept importable as well; changed in place.
    """
    library = sysconfig.get_path("stdlib")
    through = {folder: _through(folder) for folder in (library, *packages)}
    if not LINUX or not any(through.values()):
        return

    def opened(path: str) -> str:
        # The packages may be inside the library: the longest comes first.
        for folder in sorted(through, key=len, reverse=True):
            if path.startswith(folder) and through[folder]:
                return through[folder] + path.removeprefix(folder)
        return path

    packages[:] = map(opened, packages)
    sys.path[:] = map(opened, sys.path)
    for module in list(sys.modules.values()):
        folders = getattr(module, "__path__", None)
        if isinstance(folders, list):
            folders[:] = map(opened, folders)


def _through(folder: str) -> str:
    """A path to a folder through a descriptor, if it is under one that is closed to others."""
    parents = [folder]
    while parents[-1] != "/":
        parents.append(os.path.dirname(parents[-1]))
    if all(os.stat(parent).st_mode & 0o001 for parent in parents):
        return ""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    kept.append(fd)
    return f"/proc/self/fd/{fd}"


def strays() -> list[int]:
    """Children of this process, those that left their parent included (we are their reaper)."""
    with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]
    return []


def kill_all_of(uid: int) -> None:
    """Kill every process of a uid that only programs of this worker use."""
    pid = os.fork()
    if pid == 0:
        become(uid)
        with contextlib.suppress(OSError):
            os.kill(-1, signal.SIGKILL)
        os._exit(0)
    os.waitpid(pid, 0)


# --- limits, set in the program's own process -----------------------------------------------------


def set_limits(limits: dict[str, int], others: int | None) -> None:
    """Resource limits of one program.

    Args:
        limits: the host's `Limits` as a dict, with whole `cpu_seconds`.
        others: how many processes of this uid run beside the program; None if the uid is shared
        with
            the user's own.
    """
    megabyte = 1 << 20
    memory = limits["memory_mb"] * megabyte
    wanted = [
        # The margin lets the harness report after a MemoryError: it raises the soft limit itself.
        (resource.RLIMIT_AS, memory, memory + 32 * megabyte),
        # Soft below hard: SIGXCPU first, SIGKILL for what ignores it.
        (resource.RLIMIT_CPU, limits["cpu_seconds"], limits["cpu_seconds"] + 1),
        (resource.RLIMIT_FSIZE, 16 * megabyte, 16 * megabyte),
        (resource.RLIMIT_NOFILE, 64, 64),
        # Programs that recurse raise it, together with the recursion limit; memory bounds it.
        (resource.RLIMIT_STACK, 64 * megabyte, resource.RLIM_INFINITY),
        (resource.RLIMIT_CORE, 0, 0),
    ]
    # Counted by uid. Shared with the user's other processes no number would be right but none at
    # all.
    processes = 0 if others is None else 1 + others + limits["processes"]
    wanted.append((resource.RLIMIT_NPROC, processes, processes))
    for name, soft, hard in wanted:
        ceiling = resource.getrlimit(name)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft = min(soft, ceiling)
            hard = ceiling if hard == resource.RLIM_INFINITY else min(hard, ceiling)
        with contextlib.suppress(ValueError, OSError):  # macOS has no working RLIMIT_AS
            resource.setrlimit(name, (soft, hard))


def reporting_margin() -> None:
    """Raise the soft memory limit to the hard one, so that a MemoryError can be reported."""
    with contextlib.suppress(ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
