"""What the families of hypercalls that come through privcmd share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hvsim.abi import domctl
from hvsim.abi.hypercall import HYPERVISOR_sysctl
from hvsim.devnodes.caller import Caller
from hvsim.wire.answers import MachineInfo
from hvsim.wire.packing import ERRORS

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

Handler = Callable[["Domain", Caller, list[int]], int]
"""``handler(domain, caller, arguments)`` -> what the hypercall answers; raises OSError,
HypercallError."""


def machine(dom: Domain) -> MachineInfo:
    """What physinfo says; and whether the caller may ask at all.  Raises HypercallError."""
    return dom.hypercall.ask(MachineInfo, HYPERVISOR_sysctl, domctl.XEN_SYSCTL_physinfo)


def text(value: str, size: int) -> bytes:
    """A C text in *size* bytes."""
    return value.encode(errors=ERRORS)[: size - 1].ljust(size, b"\0")


def write_bitmap(caller: Caller, where: int, nr_bits: int, ones: Sequence[int]) -> None:
    """Set the bits of *ones* in a map of *nr_bits* (xenctl_bitmap).  Raises OSError(EFAULT)."""
    size = min(nr_bits, 1 << 16) // 8 + bool(nr_bits % 8)
    whole = sum(1 << bit for bit in ones if bit < size * 8)
    caller.write(where, whole.to_bytes(size, "little"))


def read_bitmap(caller: Caller, where: int, nr_bits: int, most: int) -> list[int]:
    """The first *most* bits that are set in a map of *nr_bits*.  Raises OSError(EFAULT)."""
    nr_bits = min(nr_bits, most)
    bitmap = caller.read(where, -(-nr_bits // 8))
    return [bit for bit in range(nr_bits) if bitmap[bit >> 3] >> (bit & 7) & 1]
