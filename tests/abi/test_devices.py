"""The structures that real Xen programs hand to ioctl and hypercalls, against their headers; and
the wire between the node library and its server, against the library's own header."""

import json
import subprocess
from pathlib import Path

import pytest

from hvsim.abi import devices, guest_calls, hypfs
from hvsim.abi.layout import Structure
from hvsim.devnodes import node, wire
from tests.support import optional

NODES = Path(__file__).parents[2] / "hvsim" / "devnodes" / "library"

PREAMBLE = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#define __XEN_TOOLS__ 1
#include <xen/xen.h>
#include <xen/domctl.h>
#include <xen/sysctl.h>
#include <xen/version.h>
#include <xen/hypfs.h>
#include <xen/sys/evtchn.h>
#include <xen/sys/gntdev.h>
#include <xen/sys/gntalloc.h>
#include <xen/sys/privcmd.h>
"""


def printed(folder: Path, preamble: str, expressions: dict[str, str]) -> dict[str, int]:
    """What a C program says of each expression."""
    compiler = optional.compiler()
    lines = [f'    printf("[\\"{key}\\", %lld]\\n", (long long)({expression}));'
             for key, expression in expressions.items()]  # fmt: skip
    source = folder / "print.c"
    source.write_text(preamble + "int main(void)\n{\n" + "\n".join(lines) + "\n    return 0;\n}\n")
    program = folder / "print"
    command = [compiler, "-w", "-I", str(NODES), "-o", str(program), str(source)]
    subprocess.run(command, check=True, timeout=60)
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return dict(json.loads(line) for line in output.splitlines())


def layouts() -> list[Structure]:
    found = (*vars(devices).values(), *vars(guest_calls).values(), *vars(hypfs).values())
    return [one for one in found if isinstance(one, Structure)]


@pytest.mark.interop
def test_every_member_lies_where_the_header_has_it(tmp_path: Path) -> None:
    """Red when a member of a layout is given another width."""
    optional.header("xen/xen.h")
    expressions: dict[str, str] = {}
    ours: dict[str, int] = {}
    for layout in layouts():
        name = layout.name.removeprefix("head of ")
        if not (name.startswith("struct ") or name.endswith("_t")):
            continue  # a part of a union, which has no name
        for member, offset in layout.offsets.items():
            key = f"{name}.{member}"
            expressions[key], ours[key] = f"offsetof({name}, {member})", offset
        if name == layout.name:
            expressions[name], ours[name] = f"sizeof({name})", layout.size
    assert len(ours) > 120
    assert printed(tmp_path, PREAMBLE, expressions) == ours


@pytest.mark.interop
def test_the_library_speaks_the_servers_wire(tmp_path: Path) -> None:
    """Red when an operation is numbered anew on one side only."""
    ours = {f"OP_{op.name}": int(op) for op in wire.Op}
    ours |= {
        name: getattr(node, name) for name in ("EVTCHN", "GNTDEV", "GNTALLOC", "PRIVCMD", "XENBUS")
    }
    ours |= {name: getattr(wire, name) for name in ("MAX_FDS", "MAX_ROWS", "NO_PAGE")}
    ours["BAD_ARGUMENT"] = wire.BAD_ARGUMENT
    expressions = {name: name for name in ours}
    for layout in (wire.REQUEST, wire.REPLY, wire.ROW):
        expressions[layout.name], ours[layout.name] = f"sizeof({layout.name})", layout.size
        for member, offset in layout.offsets.items():
            key = f"{layout.name}.{member}"
            expressions[key], ours[key] = f"offsetof({layout.name}, {member})", offset
    assert printed(tmp_path, '#include <stdio.h>\n#include "nodes.h"\n', expressions) == ours
