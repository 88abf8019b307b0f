"""hypfs (xen/hypfs.h): a small tree of facts about the hypervisor, for xenhypfs.

Source: Xen's common/hypfs.c, docs/misc/hypfs-paths.pandoc.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from hvsim.abi import hypfs as abi
from hvsim.abi.hypercall import (
    HYPERVISOR_xen_version,
    XENVER_extraversion,
    XENVER_version,
)
from hvsim.devnodes.caller import Caller
from hvsim.devnodes.hypercalls.common import machine
from hvsim.domain import machine_facts

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

VERSION: Final = 1
MAX_PATH: Final = 1024
_ALIGN: Final = 4

Tree = dict[str, "str | int | Tree"]
"""A directory: its entries by name, each a text, a number or another one."""


def hypfs_op(dom: Domain, caller: Caller, args: list[int]) -> int:
    """(command, path, its length, buffer, its length)"""
    cmd, path, length, where, room = args[:5]
    machine(dom)
    if cmd == abi.XEN_HYPFS_OP_get_version:
        if any(args[1:5]):
            raise OSError(errno.EINVAL, "get_version takes nothing")
        return VERSION
    if cmd not in (abi.XEN_HYPFS_OP_read, abi.XEN_HYPFS_OP_write_contents):
        raise OSError(errno.EOPNOTSUPP, f"hypfs operation {cmd}")
    if not 1 < length <= MAX_PATH:
        raise OSError(errno.EINVAL, f"a path of {length} bytes")
    name = caller.read(path, length)
    if name[-1:] != b"\0" or name[:1] != b"/":
        raise OSError(errno.EINVAL, "no path")
    entry = find(tree(dom), name[:-1].decode("latin-1"))
    if cmd == abi.XEN_HYPFS_OP_write_contents:
        raise OSError(errno.EACCES, "nothing here can be written")
    content = contents(entry)
    head = abi.DIRENTRY.pack(_kind(entry), abi.XEN_HYPFS_ENC_PLAIN, 0, len(content), 0)
    if room < len(head):
        raise OSError(errno.ENOBUFS, f"a buffer of {room} bytes")
    if room < len(head) + len(content):
        caller.write(where, head)
        raise OSError(errno.ENOBUFS, f"a buffer of {room} bytes")
    caller.write(where, head + content)
    return 0


def tree(dom: Domain) -> Tree:
    """All there is."""
    version = dom.hypercall.ask(int, HYPERVISOR_xen_version, XENVER_version)
    extra = dom.hypercall.ask(str, HYPERVISOR_xen_version, XENVER_extraversion)
    return {
        "buildinfo": {
            "changeset": "",
            "compileinfo": {
                "compile_by": machine_facts.COMPILED_BY,
                "compile_date": "",
                "compile_domain": "",
                "compiler": machine_facts.compiler(),
            },
            "version": {"extra": extra, "major": version >> 16, "minor": version & 0xFFFF},
        },
        "cpupool": {"0": {"sched-gran": "cpu"}},
        "params": {},
    }


def find(root: Tree, path: str) -> str | int | Tree:
    """Raises: OSError: ENOENT, EINVAL for a path with an empty part."""
    entry: str | int | Tree = root
    for part in [] if path == "/" else path[1:].split("/"):
        if not part:
            raise OSError(errno.EINVAL, path)
        if not isinstance(entry, dict) or part not in entry:
            raise OSError(errno.ENOENT, path)
        entry = entry[part]
    return entry


def _kind(entry: str | int | Tree) -> int:
    if isinstance(entry, dict):
        return abi.XEN_HYPFS_TYPE_DIR
    return abi.XEN_HYPFS_TYPE_STRING if isinstance(entry, str) else abi.XEN_HYPFS_TYPE_UINT


def contents(entry: str | int | Tree) -> bytes:
    """The bytes of a text with its zero, of a number, or of a directory's list."""
    if isinstance(entry, str):
        return entry.encode() + b"\0"
    if isinstance(entry, int):
        return entry.to_bytes(4, "little")
    rows = []
    for number, (name, one) in enumerate(entry.items()):
        size = len(contents(one)) if not isinstance(one, dict) else _listed(one)
        text = name.encode() + b"\0"
        whole = abi.DIRLISTENTRY.offsets["name"] + len(text)
        padding = -whole % _ALIGN
        last = number == len(entry) - 1
        row = abi.DIRENTRY.pack(_kind(one), abi.XEN_HYPFS_ENC_PLAIN, 0, size, 0)
        row += (0 if last else whole + padding).to_bytes(2, "little")
        rows.append(row + text + bytes(padding))
    return b"".join(rows)


def _listed(directory: Tree) -> int:
    return len(contents(directory))
