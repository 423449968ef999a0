"""The private root file system: the standard library, read-only, and one empty folder.

It may also hold packages, as far as they are on a list. See mount(2), pivot_root(2).
"""

from __future__ import annotations

import glob
import os
import sys
import sysconfig

from kernel import (
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_RELATIME,
    MS_REMOUNT,
    ST_RELATIME,
    libc,
    mount,
)

BOX = "/box"  # the one writable folder inside the private root
INODES_PER_MEGABYTE = 64
# Programs expect to write here too: semaphores of `multiprocessing` are files in the first.
SHARED = ("/dev/shm", "/tmp")
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


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


def build(base: str, besides: list[str], packages: list[str]) -> None:
    """Make a root file system in the empty folder `base`, enter it and let go of the old one.

    Args:
        base: an empty folder.
        besides: what can be read beside the standard library.
        packages: files and folders of packages; others that are installed are covered.
    """
    paths = readable_paths(besides)
    shown = {path: os.path.realpath(path) for path in packages}
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", base, "tmpfs", MS_NOSUID, "size=1m,mode=0755")
    os.mkdir(base + "/old")
    os.mkdir(base + BOX, 0o755)
    libc("pivot_root", os.fsencode(base), os.fsencode(base + "/old"))
    os.chdir("/")
    for path, real in paths.items():
        show(path, real)
    covers = [] if besides else hide_packages(list(paths))
    for path, real in shown.items():
        if not os.path.lexists(path):
            show(path, real)
    for path in covers:
        mount(None, path, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    libc("umount2", b"/old", MNT_DETACH)
    os.rmdir("/old")
    for path in SHARED:
        if not os.path.lexists(path):
            os.symlink(BOX, path)
    mount(None, "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID)


def show(path: str, real: str) -> None:
    """Mount a file or folder of the old root, read-only but for devices."""
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


def hide_packages(paths: list[str]) -> list[str]:
    """Cover the folders of installed packages, which may hold tests with their answers.

    Returns:
        The covers, empty folders that can still be written.
    """
    found = [
        folder
        for path in paths
        for pattern in ("*-packages", "python*/*-packages")
        for folder in glob.glob(f"{path}/{pattern}")
    ]
    for folder in found:
        mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=0755")
    return found


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
