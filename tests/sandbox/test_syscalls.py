"""The filter of system calls, run by a small interpreter of its instructions."""

from __future__ import annotations

import errno
import struct
import sys
from pathlib import Path

import pytest

import pretrial.sandbox

sys.path.append(str(Path(pretrial.sandbox.__file__).parent / "inside"))
import syscalls  # the worker runs these files as plain modules

sys.path.pop()
MACHINES = sorted(syscalls.ARCHITECTURES)
REFUSED = syscalls.FAIL | errno.EPERM


def answer(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the filter says of a call: the classic BPF machine of the kernel."""
    arch = syscalls.ARCHITECTURES[machine][0] if arch is None else arch
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, arch, 0, *padded)
    code = list(struct.iter_unpack("=HBBI", syscalls.compile_filter(machine)))
    value, place = 0, 0
    while True:
        kind, yes, no, constant = code[place]
        place += 1
        if kind == syscalls.LOAD:
            [value] = struct.unpack_from("=I", data, constant)
        elif kind == syscalls.RETURN:
            return constant
        else:
            holds = {
                syscalls.EQUAL: value == constant,
                syscalls.AT_LEAST: value >= constant,
                syscalls.ANY_BIT: bool(value & constant),
            }[kind]
            place += yes if holds else no


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_refused_and_what_is_not(machine):
    column = syscalls.ARCHITECTURES[machine][1]
    refused = {numbers[column] for numbers in syscalls.REFUSED.values()}
    special = {numbers[column] for numbers, _ in syscalls.OWN.values()}
    special |= {syscalls.CLONE[column], syscalls.CLONE3[column]}
    assert len(refused) == len(syscalls.REFUSED)  # no number stands for two calls
    assert not refused & special
    for number in range(600):
        if number not in special:
            wanted = REFUSED if number in refused else syscalls.ALLOW
            assert answer(machine, number) == wanted, number


@pytest.mark.parametrize("machine", MACHINES)
def test_a_process_may_change_itself_only(machine):
    column = syscalls.ARCHITECTURES[machine][1]
    for name, (numbers, zeros) in syscalls.OWN.items():
        assert answer(machine, numbers[column], 0, 0, 7) == syscalls.ALLOW, name
        assert answer(machine, numbers[column], 1) == REFUSED, name
        assert answer(machine, numbers[column], 0, 1) == (REFUSED if zeros > 1 else syscalls.ALLOW)


@pytest.mark.parametrize("machine", MACHINES)
def test_new_processes_but_no_new_namespaces(machine):
    column = syscalls.ARCHITECTURES[machine][1]
    fork, thread, user = 17, 0x3D0F00, 0x10000000
    assert answer(machine, syscalls.CLONE[column], fork) == syscalls.ALLOW
    assert answer(machine, syscalls.CLONE[column], thread) == syscalls.ALLOW
    assert answer(machine, syscalls.CLONE[column], fork | user) == REFUSED
    assert answer(machine, syscalls.CLONE3[column]) == syscalls.FAIL | errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_by_other_numbers_are_refused(machine):
    other = syscalls.ARCHITECTURES[next(m for m in MACHINES if m != machine)][0]
    assert answer(machine, 0, arch=other) == REFUSED
    assert answer(machine, 0, arch=0x40000003) == REFUSED  # 32-bit x86
    if machine == "x86_64":
        assert answer(machine, syscalls.X32) == REFUSED
