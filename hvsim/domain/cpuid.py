"""What the CPU says of itself (CPUID), as Xen's policies have it.

Nothing stands between a program of a domain and the instruction, so what the CPU says, what the
hypervisor has and what a guest may use are one and the same.

Source: xen/lib/x86/cpuid.h, cpuid.c (x86_cpuid_copy_to_buffer) and arch-x86/cpufeatureset.h for
which leaves there are; Intel SDM volume 2 and AMD APM volume 3 for how far they go.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
from typing import Final, NamedTuple

NO_SUBLEAF: Final = 0xFFFF_FFFF
"""XEN_CPUID_NO_SUBLEAF."""
FEATURE_WORDS: Final = 19
"""32-bit words of a featureset in Xen 4.17."""
_CODE: Final = bytes.fromhex("53 89f8 89f1 4989d0 0fa2 418900 41895804 41894808 4189500c 5b c3")
"""void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4])"""
_BASIC_MOST: Final = 0xD
_EXTENDED: Final = 0x8000_0000
_EXTENDED_MOST: Final = 0x8000_0021
_CACHE, _FEATURES, _TOPOLOGY, _XSTATE = 4, 7, 0xB, 0xD
_XSTATES: Final = 63


class Leaf(NamedTuple):
    """One answer of the instruction."""

    leaf: int
    subleaf: int
    a: int
    b: int
    c: int
    d: int


class NoCpuid(Exception):
    """The instruction cannot be had: another kind of machine, or no page may be executed."""


class _Instruction:
    """The instruction, in a page of our own."""

    def __init__(self) -> None:
        if platform.machine() != "x86_64":
            raise NoCpuid(platform.machine())
        try:
            rwx = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
            self._page = mmap.mmap(-1, mmap.PAGESIZE, prot=rwx)
        except OSError as error:
            raise NoCpuid(str(error)) from None
        self._page.write(_CODE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        words = ctypes.c_uint32 * 4
        kind = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.POINTER(words))
        self._call = kind(start)
        self._out = words()

    def __call__(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        self._call(leaf, subleaf, ctypes.byref(self._out))
        a, b, c, d = self._out
        return a, b, c, d


@functools.cache
def _instruction() -> _Instruction:
    return _Instruction()


def leaves() -> list[Leaf]:
    """The leaves of a policy, in Xen's order.  Raises: NoCpuid."""
    ask = _instruction()
    found: list[Leaf] = []
    for number in range(min(ask(0, 0)[0], _BASIC_MOST) + 1):
        found += [
            Leaf(number, subleaf, *ask(number, 0 if subleaf == NO_SUBLEAF else subleaf))
            for subleaf in _subleaves(ask, number)
        ]
    last = min(ask(_EXTENDED, 0)[0], _EXTENDED_MOST)
    found += [Leaf(n, NO_SUBLEAF, *ask(n, 0)) for n in range(_EXTENDED, last + 1)]
    return found


def _subleaves(ask: _Instruction, number: int) -> list[int]:
    if number == _CACHE:  # until one of no kind
        kinds = [n for n in range(6) if ask(number, n)[0] & 0x1F]
        return list(range(len(kinds)))
    if number == _FEATURES:
        return list(range(min(ask(number, 0)[0], 2) + 1))
    if number == _TOPOLOGY:
        return [n for n in range(2) if ask(number, n)[2] & 0xFF00]
    if number == _XSTATE:
        states = ask(number, 0)
        known = states[0] | states[3] << 32
        return [0, 1, *(n for n in range(2, _XSTATES) if known >> n & 1)]
    return [NO_SUBLEAF]


def featureset() -> list[int]:
    """The words of features; those of machine-specific registers are 0.  Raises: NoCpuid."""
    ask = _instruction()
    words = [0] * FEATURE_WORDS
    most, extended = ask(0, 0)[0], ask(_EXTENDED, 0)[0]
    words[1], words[0] = ask(1, 0)[2:]
    if extended >= 0x8000_0001:
        words[3], words[2] = ask(0x8000_0001, 0)[2:]
    if most >= _XSTATE:
        words[4] = ask(_XSTATE, 1)[0]
    if most >= _FEATURES:
        last, words[5], words[6], words[9] = ask(_FEATURES, 0)
        if last >= 1:
            words[10], words[12], words[14], words[15] = ask(_FEATURES, 1)
        if last >= 2:
            words[13] = ask(_FEATURES, 2)[3]
    if extended >= 0x8000_0007:
        words[7] = ask(0x8000_0007, 0)[3]
    if extended >= 0x8000_0008:
        words[8] = ask(0x8000_0008, 0)[1]
    if extended >= 0x8000_0021:
        words[11] = ask(0x8000_0021, 0)[0]
        words[18] = ask(0x8000_0021, 0)[2]
    return words
