"""An interpreter of classic BPF, for tests that ask a seccomp filter call by call."""

import struct

from hvsim.linux import syscalls
from hvsim.spawn.sandbox import bpf, seccomp

ALLOW = bpf.RET_ALLOW
PID = 1
"""The number of the process whose filter is asked."""


def refuse(code: int) -> int:
    """What a filter returns that refuses with errno *code*."""
    return bpf.RET_ERRNO | code


def run(program: bytes, nr: int, args: tuple[int, ...] = (), arch: int = 0xC000003E) -> int:
    """Interpret a program as the kernel does (seccomp_check_filter allows no more than this)."""
    padded = (*args, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<iIQ6Q", nr, arch, 0, *(a & (2**64 - 1) for a in padded))
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, at = 0, 0
    while True:
        op, if_true, if_false, k = code[at]
        at += 1
        match op:
            case bpf.LD_W_ABS:
                (accumulator,) = struct.unpack_from("<I", data, k)
            case bpf.ALU_AND_K:
                accumulator &= k
            case bpf.JMP_JEQ_K:
                at += if_true if accumulator == k else if_false
            case bpf.JMP_JGT_K:
                at += if_true if accumulator > k else if_false
            case bpf.RET_K:
                return int(k)
            case _:
                raise AssertionError(f"unknown instruction {op:#x}")


def verdict(
    machine: str, profile: seccomp.Profile, name: str, *args: int, network: bool = False
) -> int:
    """What the filter of a profile returns for a call of a machine."""
    program = seccomp.program(profile, PID, machine, network)
    return run(program, syscalls.NUMBERS[machine][name], args, syscalls.AUDIT_ARCH[machine])
