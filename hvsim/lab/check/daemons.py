"""Can the real daemons that a lab file asks for be had, and do they know what it asks of them?"""

from collections.abc import Iterator, Mapping
from typing import Any

from hvsim.devnodes.library import node_library
from hvsim.lab.builtin import BUILTIN
from hvsim.lab.problems import Fault
from hvsim.lab.real_daemons import INSTALL, QUOTA, REAL, find


def daemon_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    """What stands in the way of the daemons that the lab file *data* names."""
    lab, store = (data.get(key) for key in ("lab", "store"))
    if not isinstance(lab, dict):
        return
    for key, programs in REAL.items():
        program = lab.get(key, BUILTIN)
        if program in programs:  # any other word is the schema's business
            yield from _program(key, program)
    kind = lab.get("store", BUILTIN)
    if kind not in QUOTA:
        return
    if lab.get("handshake", "record") == "strict":
        yield (
            ("lab", "handshake"),
            f"{kind} cannot refuse a step of a handshake",
            'leave it at "record", or set store = "builtin"',
        )
    quota = store.get("quota") if isinstance(store, dict) else None
    for name in quota if isinstance(quota, dict) else ():
        if name not in QUOTA[kind]:
            known = ", ".join(sorted(QUOTA[kind]))
            yield ("store", "quota", name), f"{kind} has no such limit", f"it has: {known}"


def _program(key: str, program: str) -> Iterator[Fault]:
    if find(program) is None:
        yield ("lab", key), f"the program {program} is not installed", INSTALL
    elif node_library() is None:
        yield (
            ("lab", key),
            f"{program} needs the node library, which was not built",
            "install a C compiler (apt install gcc libc6-dev) and prepare hvsim again (make setup)",
        )
