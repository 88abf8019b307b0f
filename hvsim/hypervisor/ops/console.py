"""Lines for ``xl dmesg`` and the ledger: console_io, and the notes of dom0's services."""

import re
from typing import Final

from hvsim.abi.errno import E2BIG, EINVAL
from hvsim.abi.event_channel import VIRQ_CON_RING
from hvsim.abi.hypercall import (
    DOMID_FIRST_RESERVED,
    CONSOLEIO_write,
    HVSIM_OP_note,
    HYPERVISOR_console_io,
    HYPERVISOR_hvsim_op,
)
from hvsim.hypervisor.calls import Machine, Process, Steps, hypercall
from hvsim.hypervisor.errors import XenError
from hvsim.wire.packing import ERRORS

CONSOLE_WRITE_MAX: Final = 8192
_NOTE_KIND: Final = re.compile(r"[a-z]{1,16}\.[a-z-]{1,24}")


@hypercall(HYPERVISOR_console_io, CONSOLEIO_write, bytes)
def console_write(machine: Machine, caller: Process, data: bytes) -> Steps:
    """(bytes): a line for ``xl dmesg``"""
    if len(data) > CONSOLE_WRITE_MAX:
        raise XenError(E2BIG, f"a console write of {len(data)} bytes")
    whole = yield from machine.console.guest(caller.domid, data, machine.host.now())
    if not whole:
        machine.ledger.refuse(
            "console.suppressed", caller.domid, f"d{caller.domid} writes to the console too fast"
        )
    machine.raise_virq(VIRQ_CON_RING)
    return ()


@hypercall(HYPERVISOR_hvsim_op, HVSIM_OP_note, str, int, str)
def note(machine: Machine, caller: Process, kind: str, dom: int, text: str) -> Steps:
    """(kind, dom, text): a decision of a service of dom0, for the ledger and ``xl dmesg``

    *kind* begins with the service's name (``store.quota``), so that it cannot pass for one of the
    hypervisor's own. *dom* is whom it is about, -1 for nobody; it may be gone already.
    """
    machine.privileged(caller)
    if not _NOTE_KIND.fullmatch(kind) or not -1 <= dom < DOMID_FIRST_RESERVED:
        raise XenError(EINVAL, f"note of kind {kind[:40]!r} about {dom}")
    line = text[:CONSOLE_WRITE_MAX]
    machine.ledger.record(kind, dom, line)
    said = f"{kind}: {line}".encode(errors=ERRORS)
    yield from machine.console.guest(caller.domid, said, machine.host.now())
    machine.raise_virq(VIRQ_CON_RING)
    return ()
