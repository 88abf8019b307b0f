"""Reads and writes of every size, of every node, are those of Linux 6.1 (drivers/xen, fs).

A port that has rung is 4 bytes; a read takes as many whole ones as fit.  The other nodes have
neither read nor write, and a driver without poll is always ready.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.devnodes.running import Programs, build
from tests.support import optional
from tests.support.hv import Hypervisor

pytestmark = pytest.mark.interop

EVTCHN = {
    "channel": "0",
    "evtchn.read-0": "0",
    "evtchn.read-3": "0",
    "evtchn.read-wild": "EFAULT",
    "evtchn.read-5": "4",
    "evtchn.readv": "8",
    "evtchn.read-many": "12",  # six have rung: two ends of three channels
    "evtchn.read-none": "EAGAIN",
    "evtchn.pread": "ESPIPE",
    "evtchn.write-3": "0",
    "evtchn.write-7": "4",
    "evtchn.write-too-many": "4096",
    "evtchn.write-wild": "EFAULT",
    "evtchn.pwrite": "ESPIPE",
}
NEITHER = {
    "read": "EINVAL",
    "read-0": "EINVAL",
    "write": "EINVAL",
    "pread": "EINVAL",
    "pwrite": "EINVAL",
    "epoll": "EPERM",
    "poll": "1",
    "lseek": "ESPIPE",
}
PASSED_ON = {
    "passed.read-3": "0",
    "inherited.read-3": "0",
    "inherited.is-a-device": "1",
    "inherited.dup": "0",
    "inherited.dup2": "0",
    "inherited.fcntl": "0",
    "done": "0",
}


def test_reads_and_writes(tmp_path: Path) -> None:
    """Seen red, each once: with one port a read (readv, read-many); with the socket's own read
    (read-3 is 3, and loses a port); without ``writable`` in data.c (read-many is 8: a port went to
    nowhere); without marks for what was received or inherited (passed, inherited)."""
    optional.header("xen/sys/evtchn.h")
    program = build(tmp_path, "reads")
    expected = {
        **EVTCHN,
        **{
            f"{node}.{name}": result
            for node in ("gntdev", "gntalloc", "privcmd")
            for name, result in NEITHER.items()
        },
        **PASSED_ON,
    }
    with Hypervisor(tmp_path) as hv, Programs(hv) as programs:
        domain = hv.domain()
        status, text = programs.run(domain, [program, str(domain.domid)])
        said = dict(line.split(" ", 1) for line in text.splitlines())
        assert said == expected
        assert status == 0
