"""A filter of system calls, for the worker and all its programs. See seccomp(2).

Namespaces and limits leave open what one uid may do to its own processes, and what outlives a
process: a program could lower the limits of the worker that forked it, and so of every program
after it, or keep memory in nameless files that no limit counts. Those calls are refused here, with
"operation not permitted", and so are a few large parts of the kernel that no program needs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

PR_GET_SECCOMP, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 21, 22, 2
# <linux/audit.h>; the number of each call on x86_64, and on arm64 where all new machines agree
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
X32 = 0x40000000  # a second set of numbers on x86_64, for 32-bit pointers

# What outlives the program, in the worker's namespaces: shared memory, semaphores, queues, keys.
REMAINS = {
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
# Files in memory, which neither the limit on memory nor that on the box counts.
HOARDS = {"memfd_create": (319, 279), "memfd_secret": (447, 447)}
# What reaches into other processes.
REACHES = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "ioprio_set": (251, 30),
}
# Parts of the kernel that no program needs, with a history of faults.
SURFACE = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
}
REFUSED = {**REMAINS, **HOARDS, **REACHES, **SURFACE}
# Allowed only where so many first arguments are 0, which means the calling process.
OWN = {
    "prlimit64": ((302, 261), 1),
    "sched_setscheduler": ((144, 119), 1),
    "sched_setparam": ((142, 118), 1),
    "sched_setaffinity": ((203, 122), 1),
    "sched_setattr": ((314, 274), 1),
    "setpriority": ((141, 140), 2),
}
CLONE, CLONE3 = (56, 220), (435, 435)
NEW_NAMESPACES = 0x7E020000  # all CLONE_NEW* flags of <linux/sched.h> that clone takes

# <linux/bpf_common.h>
LOAD, RETURN = 0x20, 0x06  # a word at a fixed place; a constant
EQUAL, AT_LEAST, ANY_BIT = 0x15, 0x35, 0x45  # jumps
NUMBER, ARCH, ARGUMENTS = 0, 4, 16  # places in struct seccomp_data
ALLOW, FAIL = 0x7FFF0000, 0x00050000

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def available() -> bool:
    """Whether this kernel filters system calls and their numbers are known for this machine."""
    if sys.platform != "linux" or os.uname().machine not in ARCHITECTURES:
        return False
    return sys.maxsize > 1 << 32 and ctypes.CDLL(None).prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == 0


def compile_filter(machine: str) -> bytes:
    """The filter as the kernel reads it, for a machine of `ARCHITECTURES`."""
    arch, column = ARCHITECTURES[machine]
    refuse = (RETURN, 0, 0, FAIL | errno.EPERM)
    allow = (RETURN, 0, 0, ALLOW)
    code: list[Instruction] = [
        (LOAD, 0, 0, ARCH),
        (EQUAL, 1, 0, arch),
        refuse,  # calls of another architecture, whose numbers differ
        (LOAD, 0, 0, NUMBER),
    ]
    if machine == "x86_64":
        code += [(AT_LEAST, 0, 1, X32), refuse]
    for numbers in REFUSED.values():
        code += [(EQUAL, 0, 1, numbers[column]), refuse]
    # The C library then uses clone, whose flags can be read here.
    code += [(EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, FAIL | errno.ENOSYS)]
    code += [(EQUAL, 0, 4, CLONE[column]), (LOAD, 0, 0, ARGUMENTS)]
    code += [(ANY_BIT, 0, 1, NEW_NAMESPACES), refuse, allow]
    for numbers, zeros in OWN.values():
        code.append((EQUAL, 0, 3 * zeros + 1, numbers[column]))
        for argument in range(zeros):
            code += [(LOAD, 0, 0, ARGUMENTS + 8 * argument), (EQUAL, 1, 0, 0), refuse]
        code.append(allow)
    return b"".join(struct.pack("=HBBI", *each) for each in [*code, allow])


def install(compiled: bytes) -> None:
    """Puts a filter on this process and all it will start, for good.

    Raises:
        OSError: the kernel refused it.
    """
    program = _Program(len(compiled) // 8, compiled)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_SECCOMP): {os.strerror(number)}")
