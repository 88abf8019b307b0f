"""A hypervisor for tests of its calls: one helper that sends a call and expects an errno.

``Lab`` runs the real machine: the real server, dispatcher, memfds and doorbells, in a process of
its own, with a spawner that only hands the descriptors back to the test (``relay_spawner``). So
each domain of the lab is *this* process, holding that domain's connection, and a test says in
three lines what a domain does and what it must get.
"""

import array
import contextlib
import itertools
import mmap
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import msgpack

from hvsim.abi import domctl
from hvsim.abi.grant_table import (
    GRANT_ENTRY_V1,
    GNTMAP_host_map,
    GNTTABOP_map_grant_ref,
    GNTTABOP_setup_table,
    GTF_permit_access,
)
from hvsim.abi.hypercall import (
    DOMID_SELF,
    HVSIM_DOMCTL_load,
    HVSIM_DOMCTL_populate,
    HVSIM_MEM_alloc_extent,
    HYPERVISOR_domctl,
    HYPERVISOR_event_channel_op,
    HYPERVISOR_grant_table_op,
    HYPERVISOR_memory_op,
)
from hvsim.wire import rights
from tests.support import bells
from tests.support.hypervisor_process import HypervisorProcess

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
PAGE = 4096
_numbers = itertools.count()


class Call(Exception):
    """A call was not answered as the test expects."""


class Dom:
    """One process of a domain: its connection, its upcall, and the process that stands for it."""

    def __init__(self, lab: "Lab", spec: dict[str, Any], pid: int, fds: list[int]) -> None:
        self.lab = lab
        self.domid: int = spec.get("domid", 0)
        self.name: str = spec["process"]
        self.pid = pid
        self.sock = socket.socket(fileno=fds[0])
        self.sock.settimeout(PATIENCE)
        self.upcall = fds[1]
        self._open = [self.upcall]
        self.table: mmap.mmap | None = None

    def close(self) -> None:
        self.sock.close()
        if self.table is not None:
            self.table.close()
        for fd in self._open:
            os.close(fd)
        self._open = []

    def let_go(self, *fds: int) -> None:
        """Close descriptors that the hypervisor gave; all but the upcall when none is named, as
        the end of the process does."""
        for fd in fds or self._open[1:]:
            self._open.remove(fd)
            os.close(fd)
        if not fds and self.table is not None:
            self.table.close()
            self.table = None

    def raw(self, data: bytes) -> int:
        """Send bytes as they are; returns rc."""
        self.sock.send(data)
        return int(msgpack.unpackb(self.sock.recv(1 << 17))[0])

    def send(self, call: int, cmd: int, *args: Any) -> None:
        """Send a call; its answer is not read."""
        self.sock.send(msgpack.packb([call, cmd, *args]))

    def receive(self) -> tuple[list[Any], list[int]]:
        """Read one answer: [rc, ...] and descriptors, which this object closes at its end."""
        data, fds = rights.receive(self.sock, 1 << 17, 253)
        assert data, "the hypervisor closed the connection"
        self._open += fds
        return msgpack.unpackb(data, strict_map_key=False), fds

    def call(self, call: int, cmd: int, *args: Any, expect: int = 0) -> Any:
        """Make a call that must end with -*expect*; returns its results (one: itself)."""
        return self.call_fds(call, cmd, *args, expect=expect)[0]

    def call_fds(self, call: int, cmd: int, *args: Any, expect: int = 0) -> tuple[Any, list[int]]:
        self.send(call, cmd, *args)
        reply, fds = self.receive()
        if reply[0] != -expect:
            raise Call(f"rc {reply[0]}, {-expect} expected, for {call} {cmd:#x} {args!r}"[:300])
        results = reply[1:]
        return (results[0] if len(results) == 1 else results), fds

    # what several tests do

    def evtchn(self, cmd: int, *args: Any, expect: int = 0) -> Any:
        return self.call(HYPERVISOR_event_channel_op, cmd, *args, expect=expect)

    def evtchn_fds(self, cmd: int, *args: Any) -> tuple[Any, list[int]]:
        return self.call_fds(HYPERVISOR_event_channel_op, cmd, *args)

    def domctl(self, cmd: int, *args: Any, expect: int = 0) -> Any:
        return self.call(HYPERVISOR_domctl, cmd, *args, expect=expect)

    def extent(self, pages: int) -> tuple[int, int, int]:
        """A new grant extent: (id, first frame, descriptor)."""
        (number, gfn), fds = self.call_fds(HYPERVISOR_memory_op, HVSIM_MEM_alloc_extent, pages, 0)
        return number, gfn, fds[0]

    def grant(self, ref: int, peer: int, gfn: int, flags: int = GTF_permit_access) -> None:
        """Write an entry of the own table."""
        if self.table is None:
            _, fds = self.call_fds(HYPERVISOR_grant_table_op, GNTTABOP_setup_table, DOMID_SELF)
            self.table = mmap.mmap(fds[0], 64 * PAGE)
        GRANT_ENTRY_V1.pack_into(self.table, ref * 8, flags, peer, gfn)

    def flags(self, ref: int) -> int:
        """The flags of an entry of the own table."""
        assert self.table is not None
        return int(GRANT_ENTRY_V1.unpack_from(self.table, ref * 8)[0])

    def map(
        self, dom: int, *refs: int, flags: int = GNTMAP_host_map
    ) -> tuple[list[Any], list[int]]:
        """Map grants: the rows [status, handle, extent, page], and the new descriptors."""
        batch = [[flags, ref, dom] for ref in refs]
        (rows, _), fds = self.call_fds(HYPERVISOR_grant_table_op, GNTTABOP_map_grant_ref, batch)
        return rows, fds

    def die(self) -> None:
        """SIGKILL to the process that stands for this one."""
        os.kill(self.pid, signal.SIGKILL)


class Lab:
    """A real hypervisor process with dom0; use as a context manager."""

    def __init__(self, **config: Any) -> None:
        name = f"hvsim-test-{os.getpid()}-{next(_numbers)}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(f"\0{name}")
        listener.listen()
        listener.settimeout(PATIENCE)
        argv = [sys.executable, "-m", "tests.hypervisor.relay_spawner", "--relay", name]
        kernel = {"name": "Domain-0", "process": "kernel", "program": "-", "profile": "dom0"}
        boot = {
            "lab": "t",
            "memory_pages": 16384,
            "event_mode": "direct",
            "spawner": {"argv": argv},
            "dom0": {"memory_pages": 2048, "max_vcpus": 1, "processes": [kernel]},
            **config,
        }
        self._hypervisor = HypervisorProcess(boot)
        self.process = self._hypervisor.popen
        self.doms: list[Dom] = []
        self._created = 0
        self.notice = self._hypervisor.notice(PATIENCE)
        if not self.notice.get("ready"):
            listener.close()
            self._hypervisor.end(PATIENCE)
            raise Call(self.notice["error"])
        self._relay, _ = listener.accept()
        self._relay.settimeout(PATIENCE)
        listener.close()
        self.dom0 = self.adopt()

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *_: object) -> None:
        ended = self.process.poll() is not None
        try:
            status = self._hypervisor.end(PATIENCE)
        finally:
            for dom in self.doms:
                dom.close()
            self._relay.close()
        assert ended or status == 0, f"the hypervisor ended with {status}"

    def adopt(self) -> Dom:
        """The next process that the hypervisor had made."""
        data, fds = rights.receive(self._relay, 1 << 16, 2)
        pid, spec = msgpack.unpackb(data)
        dom = Dom(self, spec, pid, fds)
        self.doms.append(dom)
        return dom

    def create(self, pages: int = 64, program: str = "-") -> int:
        """Build a domain as the toolstack does; returns its number."""
        self._created += 1
        handle = self._created.to_bytes(16, "big")
        config = {"handle": handle, "max_vcpus": 1, "max_pages": pages, "flags": 0}
        domid = int(self.dom0.domctl(domctl.XEN_DOMCTL_createdomain, config))
        self.dom0.domctl(HVSIM_DOMCTL_populate, domid, pages)
        spec = {"name": f"d{domid}", "program": program, "profile": "guest"}
        self.dom0.domctl(HVSIM_DOMCTL_load, domid, spec)
        return domid

    def guest(self, pages: int = 64, program: str = "-") -> Dom:
        """A running domain."""
        domid = self.create(pages, program)
        self.dom0.domctl(domctl.XEN_DOMCTL_unpausedomain, domid)
        guest = self.adopt()
        while not self.info(domid)["pids"]["main"]:
            pass  # the spawner told the hypervisor before it told us
        return guest

    def info(self, domid: int) -> Any:
        """getdomaininfo; None when there is no such domain."""
        with contextlib.suppress(Call):
            return self.dom0.domctl(domctl.XEN_DOMCTL_getdomaininfo, domid)
        return None

    def destroy(self, domid: int) -> None:
        """Destroy a domain; what its processes held goes with them."""
        for dom in self.doms:
            if dom.domid == domid:
                dom.let_go()
        self.dom0.domctl(domctl.XEN_DOMCTL_destroydomain, domid)


def readable(fd: int, timeout: float = 0.0) -> bool:
    """Whether a descriptor can be read, at once or within a bound."""
    return bool(select.select([fd], [], [], timeout)[0])


def rung(fd: int) -> bool:
    """Wait (bounded) for a bell, and silence it."""
    return bells.heard(fd, PATIENCE) and bells.silence(fd) > 0


def unread(sock: socket.socket) -> int:
    """Bytes in the receive queue of a socket."""
    import fcntl
    import termios

    count = array.array("i", [0])
    fcntl.ioctl(sock.fileno(), termios.FIONREAD, count)
    return count[0]
