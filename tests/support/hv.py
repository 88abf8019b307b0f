"""A real hypervisor for tests, with real connections of domains in the test's own process.

::

    with Hypervisor(tmp_path) as hv:
        one, two = hv.domain(), hv.domain()
        port = one.events.alloc_unbound(two.domid)

``hv.dom0`` is a process of dom0 with all its rights.  A domain made here has memory, and a
``Domain`` that was attached without a store.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import msgpack

from hvsim.abi.console import OUT, OUT_PROD, OUT_SIZE
from hvsim.abi.domctl import (
    XEN_DOMCTL_createdomain,
    XEN_DOMCTL_destroydomain,
    XEN_DOMCTL_getdomaininfo,
    XEN_DOMCTL_unpausedomain,
    XEN_SYSCTL_readconsole,
)
from hvsim.abi.grant_table import GNTTAB_RESERVED_CONSOLE
from hvsim.abi.hypercall import (
    HVSIM_DOMCTL_gnttab_seed,
    HVSIM_DOMCTL_load,
    HVSIM_DOMCTL_populate,
    HVSIM_DOMCTL_set_start_info,
    HVSIM_SYSCTL_ledger,
    HYPERVISOR_domctl,
    HYPERVISOR_sysctl,
)
from hvsim.domain.domain import Domain
from hvsim.domain.hypercall import HypercallError
from hvsim.wire import rights
from hvsim.wire.answers import DomainInfo
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import read
from tests.support.hypervisor_process import HypervisorProcess

TIMEOUT = 30.0


class HypervisorGone(Exception):
    """What a domain raises here instead of ending the test's process."""


def _gone() -> NoReturn:
    raise HypervisorGone


def turn(domains: Sequence[Domain], wait: float) -> None:
    """Every domain does once what is there to do; *wait* seconds at most for some of them to have
    something, when none has."""
    moved = False
    for domain in domains:
        if domain.vcpu.block(0.0):
            domain.vcpu.dispatch()
            moved = True
    if wait and not moved:
        select.select([domain.vcpu for domain in domains], [], [], wait)


class Hypervisor:
    """A hypervisor process and the domains that a test made on it; a context manager.

    Args:
        tmp_path: where its handout socket lies.
        config: keys of the boot config that differ, e.g. ``event_mode="mediated"``.

    Attributes:
        dom0: a process of dom0.
        domains: the domains that :meth:`domain` made, by domid.
        process: the hypervisor.
    """

    def __init__(self, tmp_path: Path, **config: Any) -> None:
        self._config = config
        self._path = str(tmp_path / "handout")
        self.domains: dict[int, Domain] = {}
        self._built = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.settimeout(TIMEOUT)

    def __enter__(self) -> Hypervisor:
        self._listener.bind(self._path)
        self._listener.listen(1)
        config = {
            "lab": "test",
            "memory_pages": 65536,
            "spawner": {"argv": [sys.executable, "-m", "tests.support.handout", self._path]},
            "dom0": {
                "memory_pages": 4096,
                "processes": [{"process": "test", "profile": "dom0", "program": "a test"}],
            },
            **self._config,
        }
        self._hypervisor = HypervisorProcess(config)
        self.process = self._hypervisor.popen
        self._channel, _ = self._listener.accept()
        self._channel.settimeout(TIMEOUT)
        self.dom0 = self._attach()
        notice = self._hypervisor.notice(TIMEOUT)
        assert notice.get("ready"), notice
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # All of it, whatever fails: what stays open would be blamed on a later test.
        with contextlib.ExitStack() as stack:
            stack.callback(self._listener.close)
            stack.callback(self._channel.close)
            stack.callback(self._hypervisor.end, TIMEOUT)
            for domain in (self.dom0, *self.domains.values()):
                stack.callback(domain.close)

    def domain(self, pages: int = 1024, **start_info: Any) -> Domain:
        """A new domain that runs, with *pages* of memory."""
        domid = self._build(pages, {"profile": "guest", "program": "test"}, start_info)
        domain = self._attach()
        assert domain.domid == domid
        self.domains[domid] = domain
        return domain

    def launch(self, program: str, **spec: Any) -> int:
        """A new domain that runs *program* ("module:function") in a process of its own, without
        a store but with a console; returns its domid."""
        return self._build(256, {"profile": "guest", "program": program, "store": False, **spec})

    def console(self, domid: int) -> str:
        """What a launched domain wrote to its console (as far as the ring holds it)."""
        page = self.dom0.mapper.map(domid, GNTTAB_RESERVED_CONSOLE)
        (length,) = page.view[OUT_PROD : OUT_PROD + 4].cast("I")
        text = bytes(page.view[OUT : OUT + min(length, OUT_SIZE)]).decode()
        page.unmap()
        return text

    def info(self, domid: int) -> DomainInfo:
        """``getdomaininfo`` of a domain."""
        ask = self.dom0.hypercall.ask
        return ask(DomainInfo, HYPERVISOR_domctl, XEN_DOMCTL_getdomaininfo, domid)

    def ended(self, domid: int) -> tuple[int, str, str]:
        """(shutdown reason, console text, dmesg) of a launched domain, once it has stopped; it
        is destroyed then."""
        hypercall = self.dom0.hypercall
        self.dom0.wait(lambda: self._polled_shutdown(domid), TIMEOUT, f"the end of d{domid}")
        reason = self.info(domid)["shutdown_reason"]
        assert reason is not None
        text = self.console(domid)
        hypercall.call(HYPERVISOR_domctl, XEN_DOMCTL_destroydomain, domid)
        dmesg = hypercall.ask(str, HYPERVISOR_sysctl, XEN_SYSCTL_readconsole, False)
        return reason, text, dmesg

    def _polled_shutdown(self, domid: int) -> bool:
        # The next look is due soon, whatever happens.
        self.dom0.vcpu.call_later(0.005, lambda: None)
        return self.info(domid)["flags"]["shutdown"]

    def _build(
        self, pages: int, spec: dict[str, Any], start_info: dict[str, Any] | None = None
    ) -> int:
        ask, call = self.dom0.hypercall.ask, self.dom0.hypercall.call
        self._built += 1
        handle = self._built.to_bytes(16, "big")
        domid = ask(
            int,
            HYPERVISOR_domctl,
            XEN_DOMCTL_createdomain,
            {"handle": handle, "max_vcpus": 1, "max_pages": pages, "flags": 0},
        )
        born = ask(dict[str, int], HYPERVISOR_domctl, HVSIM_DOMCTL_populate, domid, pages)
        gfn, ref = born["console_gfn"], GNTTAB_RESERVED_CONSOLE
        call(HYPERVISOR_domctl, HVSIM_DOMCTL_gnttab_seed, domid, ref, 0, gfn)
        port = self.dom0.events.alloc_unbound_for(domid, 0)
        told = {**born, "console_port": port, **(start_info or {})}
        call(HYPERVISOR_domctl, HVSIM_DOMCTL_set_start_info, domid, told)
        call(HYPERVISOR_domctl, HVSIM_DOMCTL_load, domid, spec)
        call(HYPERVISOR_domctl, XEN_DOMCTL_unpausedomain, domid)
        return domid

    def destroy(self, domain: Domain) -> None:
        """Destroy a domain as the toolstack does; its descriptors here stay until the end."""
        self.dom0.hypercall.call(HYPERVISOR_domctl, XEN_DOMCTL_destroydomain, domain.domid)

    def end_domains(self) -> None:
        """Destroy every domain that was made here and let go of all of it, so that the next test
        finds the machine as this one did (domids go on)."""
        with contextlib.ExitStack() as stack:
            for domain in self.domains.values():
                stack.callback(domain.close)
                stack.callback(self._destroyed, domain)
            self.domains = {}

    def _destroyed(self, domain: Domain) -> None:
        with contextlib.suppress(HypercallError):  # the test has done it
            self.destroy(domain)

    def ledger(self, kind: str = "") -> list[dict[str, Any]]:
        """The ledger's records, or those of a *kind* ("grant.", say)."""
        call = partial(self.dom0.hypercall.ask, list[dict[str, Any]], HYPERVISOR_sysctl)
        found: list[dict[str, Any]] = []
        after = 0
        while records := call(HVSIM_SYSCTL_ledger, after, 256):
            found += records
            after = records[-1]["seq"]
        return [record for record in found if record["kind"].startswith(kind)]

    def _attach(self) -> Domain:
        data, fds = rights.receive(self._channel, 1 << 16, 4)
        spec = read(Spawn, msgpack.unpackb(data))
        domain = Domain.attach(fds[0], fds[1], spec, store=False, console=False)
        domain.hypercall.on_gone = _gone
        return domain
