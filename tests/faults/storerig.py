"""A store with domains around it, and rules of faults in it, without a hypervisor."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from hvsim.abi.hypercall import HVSIM_OP_fault_fired
from hvsim.domain.domain import Domain
from hvsim.domain.injection import Fault, Injector
from hvsim.domain.loading import load_program
from hvsim.domain.seams import Seams
from hvsim.domain.vcpu import VCPU
from hvsim.faults.grammar import parse
from hvsim.faults.rules import made
from hvsim.wire.picture import DomainRow
from hvsim.wire.typed import changed
from hvsim.xenstore.daemon.between import Between
from tests.xenstore.peer import Peer
from tests.xenstore.world import World

WEB, STORAGE = 5, 4
XVDA = 51712
FRONT = f"/local/domain/{WEB}/device/vbd/{XVDA}"
BACK = f"/local/domain/{STORAGE}/backend/vbd/{WEB}/{XVDA}"
_UUIDS = {"Domain-0": str(UUID(int=0)), "storage": str(UUID(int=4)), "web": str(UUID(int=5))}


class Rig(World):
    """dom0, a domain `storage` and a guest `web` with a disk of it; both halves in state 1.

    Attributes:
        told: what the rules have told of their firings.
    """

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self._now = 100.0
        self.begin_anew()
        self.numbers = {"Domain-0": 0, "storage": STORAGE, "web": WEB}
        self.storage = self.domain("storage", STORAGE)
        self.web = self.domain("web", WEB)
        self.disk(WEB)

    def begin_anew(self) -> None:
        """Another process serves the same store: nothing of the last one's rules is in it."""
        self._domain = SimpleNamespace(
            vcpu=VCPU(lambda: self._now),
            seams=Seams(),
            hypercall=SimpleNamespace(call=self._hypercall),
            events=SimpleNamespace(ports=lambda: []),
        )
        Between(self._domain.seams, self.store)

    def domain(self, name: str, domid: int) -> Peer:
        """A life of a domain, and its kernel."""
        self.numbers[name] = domid
        self.dom0.ask("WRITE", f"/local/domain/{domid}/vm", f"/vm/{_UUIDS[name]}")
        return self.guest(domid)

    def disk(self, domid: int) -> None:
        """A disk for the guest, as the toolstack makes it."""
        front = f"/local/domain/{domid}/device/vbd/{XVDA}"
        back = f"/local/domain/{STORAGE}/backend/vbd/{domid}/{XVDA}"
        for path, owner, reader in ((front, domid, STORAGE), (back, STORAGE, domid)):
            self.dom0.ask("MKDIR", path)
            self.dom0.ask("SET_PERMS", path, f"n{owner}", f"r{reader}")
            self.dom0.ask("WRITE", f"{path}/state", "1")
        self.dom0.ask("WRITE", f"{front}/backend", back)

    def rule(self, *words: str, number: int = 1, fired: int = 0) -> Callable[[], None]:
        """A rule about the store, in force; what takes it away."""
        rows = [
            {"domid": domid, "name": name, "uuid": _UUIDS[name], "devices": []}
            for name, domid in self.numbers.items()
        ]
        rule = made(parse("xenstored", words), cast("list[DomainRow]", rows), 7)
        fault = Fault(cast(Domain, self._domain), changed(rule, number=number, fired=fired))
        return cast("Injector", load_program(rule.by))(fault)

    def after(self, seconds: float) -> None:
        """Time passes, and what is due happens."""
        self._now += seconds
        self._domain.vcpu.block(0)
        self._domain.vcpu.dispatch()

    def states(self) -> tuple[str, str]:
        """What everybody sees: of the front, of the back."""
        return self.dom0.ask("READ", f"{FRONT}/state"), self.dom0.ask("READ", f"{BACK}/state")

    def back(self, state: int, tx: int = 0) -> str:
        """The backend's kernel writes its state."""
        return self.storage.ask("WRITE", f"{BACK}/state", str(state), tx=tx)

    def front(self, state: int, tx: int = 0) -> str:
        """The frontend's does."""
        return self.web.ask("WRITE", f"{FRONT}/state", str(state), tx=tx)

    def _hypercall(self, _op: int, sub: int, *arguments: Any) -> None:
        if sub == HVSIM_OP_fault_fired:
            self.told.append(arguments[1])
