"""Isolation, from inside the worker: namespaces, the private root, privileges and resource limits.

Two levels are built here. `namespaces`: the worker enters new user, mount, network, ipc, uts and
pid namespaces and a root file system that holds the standard library, read-only, and one empty
folder of bounded size. `rlimits`: where the kernel refuses that, programs still get resource
limits, a process group and (if we are root) a user of their own. See unshare(2),
user_namespaces(7), pivot_root(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import resource
import signal
import sys
import sysconfig
from typing import Any

import syscalls

LINUX = sys.platform == "linux"
LIBC = ctypes.CDLL(None, use_errno=True)

# <linux/sched.h>; os.unshare only exists from Python 3.12.
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
ALL_NAMESPACES = (
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID
)
# <sys/mount.h>
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND = 1, 2, 4, 32, 4096
MS_REC, MS_PRIVATE, MS_RELATIME, MNT_DETACH = 16384, 1 << 18, 1 << 21, 2
ST_RELATIME = 4096
# <linux/prctl.h>
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
# <linux/capability.h>: _LINUX_CAPABILITY_VERSION_3 and pid 0; three empty sets of 64 bits
THIS_PROCESS, NO_CAPABILITIES = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()

BOX = "/box"  # the one writable folder inside the private root
INODES_PER_MEGABYTE = 64
# Programs expect to write here too: semaphores of `multiprocessing` are files in the first.
SHARED = ("/dev/shm", "/tmp")
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def libc(name: str, *arguments: object) -> None:
    """Call a C function that returns -1 on failure.

    Raises:
        OSError: the call failed; the message names it.
    """
    if getattr(LIBC, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def prctl(option: int, value: int) -> None:
    libc("prctl", option, ctypes.c_ulong(value), 0, 0, 0)


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    libc(
        "mount",
        source and os.fsencode(source),
        os.fsencode(target),
        kind and kind.encode(),
        ctypes.c_ulong(flags),
        options.encode(),
    )


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


# --- the private root -----------------------------------------------------------------------------


def readable_paths(besides: list[str]) -> dict[str, str]:
    """What programs may read: path as the interpreter names it -> where it really is."""
    library = sysconfig.get_path("stdlib")
    wanted = [
        library,
        os.path.join(sys.base_exec_prefix, "lib"),
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/share/zoneinfo",
        "/etc/ld.so.cache",
        *DEVICES,
        *besides,
    ]
    paths = {path: os.path.realpath(path) for path in wanted if os.path.exists(path)}
    # A folder inside another one on the list comes with it.
    return {
        path: real
        for path, real in paths.items()
        if not any(path.startswith(other.rstrip("/") + "/") for other in paths)
    }


def build_root(base: str, besides: list[str]) -> None:
    """Make a root file system in the empty folder `base`, enter it and let go of the old one."""
    paths = readable_paths(besides)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", base, "tmpfs", MS_NOSUID, "size=1m,mode=0755")
    os.mkdir(base + "/old")
    os.mkdir(base + BOX, 0o755)
    libc("pivot_root", os.fsencode(base), os.fsencode(base + "/old"))
    os.chdir("/")
    for path, real in paths.items():
        old = "/old" + real
        if os.path.isdir(old):
            os.makedirs(path, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "w").close()
        mount(old, path, None, MS_BIND | MS_REC)
        if path not in DEVICES:
            # A bind mount in a user namespace must keep the flags the original is locked with.
            flags = os.statvfs(path).f_flag
            keep = flags & 0b1111 | flags & 0b11 << 10 | (MS_RELATIME if flags & ST_RELATIME else 0)
            mount(None, path, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | keep)
    libc("umount2", b"/old", MNT_DETACH)
    os.rmdir("/old")
    if not besides:
        hide_packages(list(paths))
    for path in SHARED:
        if not os.path.lexists(path):
            os.symlink(BOX, path)
    mount(None, "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID)


def hide_packages(paths: list[str]) -> None:
    """Cover the folders of installed packages, which may hold tests with their answers."""
    for path in paths:
        for pattern in ("*-packages", "python*/*-packages"):
            for folder in glob.glob(f"{path}/{pattern}"):
                mount("tmpfs", folder, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "size=4k")


def fresh_box(mounted: bool, megabytes: int) -> None:
    """Put a new empty folder of bounded size in place of the box, whatever is in the old one."""
    os.chdir("/")
    if mounted:
        libc("umount2", BOX.encode(), MNT_DETACH)
    options = f"size={megabytes}m,nr_inodes={megabytes * INODES_PER_MEGABYTE},mode=0700"
    mount("tmpfs", BOX, "tmpfs", MS_NOSUID | MS_NODEV, options)


def hidden_folder() -> int:
    """A descriptor of a file system in memory that is nowhere to be found: mounted and let go."""
    mount("tmpfs", BOX, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700")
    fd = os.open(BOX, os.O_PATH | os.O_DIRECTORY)
    libc("umount2", BOX.encode(), MNT_DETACH)
    return fd


def enter_namespaces(base: str, besides: list[str], megabytes: int) -> list[str]:
    """Enter the namespaces; the next child is pid 1 of the new pid namespace.

    As root the private root is built first, because an interpreter under /root is out of reach of
    the unprivileged uid; then root is given up, and only then comes the user namespace.

    Args:
        base: an empty folder, where the private root is put together.
        besides: what programs may read beside the standard library.
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
        build_root(base, besides)
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
        build_root(base, besides)
    fresh_box(False, megabytes)
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
        room = config["readable"], config["box_mb"]
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
        open_library(private_uid())
        os.chmod(config["folder"], 0o711)  # the programs' own folders are in it
        layers.append("an unprivileged uid of its own")
    return layers


# --- without namespaces ---------------------------------------------------------------------------


def open_library(uid: int) -> None:
    """Keep the standard library importable for `uid`, where its folder is under one closed to it.

    An interpreter under /root is such a case. A descriptor opened while still root leads past the
    closed folder, so the search path is rewritten to go through it.
    """
    library = sysconfig.get_path("stdlib")
    parents = [library]
    while parents[-1] != "/":
        parents.append(os.path.dirname(parents[-1]))
    if not LINUX or all(os.stat(parent).st_mode & 0o001 for parent in parents):
        return
    through = f"/proc/self/fd/{os.open(library, os.O_RDONLY | os.O_DIRECTORY)}"
    sys.path[:] = [through + path.removeprefix(library) for path in sys.path]
    for module in list(sys.modules.values()):
        folders = getattr(module, "__path__", None)
        if isinstance(folders, list):
            folders[:] = [
                through + path.removeprefix(library) if path.startswith(library) else path
                for path in folders
            ]


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
