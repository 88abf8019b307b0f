"""What a host consists of beside its guests: the names of the processes.  Pure."""

from typing import Final

HYPERVISOR: Final = "hypervisor"
DOM0: Final = "Domain-0"
KERNEL: Final = "kernel"
"""dom0's own: the one of its processes that is not started again; its end is that of the lab."""
DAEMONS: Final = ("xenstored", KERNEL, "xenconsoled", "toolstack", "zmq-edge")
"""What dom0 consists of, but for what belongs to guests."""
PROGRAM: Final = "exec-"
"""What the names of programs that people run in a domain begin with: nobody waits for those."""


def server_process(kind: str, domid: int) -> str:
    """The process of dom0 that serves devices of a backend class to domain *domid*."""
    if kind == "qdisk":
        return f"qemu-{domid}"
    return "xenconsoled" if kind == "console" else KERNEL
