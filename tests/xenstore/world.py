"""A store with dom0 and guests around it, without a hypervisor."""

from __future__ import annotations

from hvsim.xenstore.rules.host import NoHost
from hvsim.xenstore.rules.store import Store
from tests.xenstore.peer import Peer


class Domains(NoHost):
    """A host with as many domains as wanted, and no rings."""

    def __init__(self) -> None:
        self.existing: set[int] = set()

    def connect_domain(self, domid: int, gfn: int, port: int) -> None:
        """Every ring is there."""

    def rebind_domain(self, domid: int, port: int) -> None:
        """Every port is there."""

    def domain_exists(self, domid: int) -> bool:
        """Those that are in the set."""
        return domid in self.existing


class World:
    """A store with dom0's toolstack and guests that have a home of their own."""

    def __init__(self) -> None:
        self.host = Domains()
        self.store = Store(host=self.host)
        self.dom0 = Peer(self.store)
        self.quota_reports: list[tuple[str, int]] = []
        self.store.on_limit = lambda name, domid, what: self.quota_reports.append((name, domid))

    def guest(self, domid: int) -> Peer:
        """Build domain *domid* and give it ``data``, which it owns."""
        self.host.existing.add(domid)
        home = f"/local/domain/{domid}"
        assert self.dom0.ask("WRITE", f"{home}/name", "guest") == "OK"
        assert self.dom0.ask("WRITE", f"{home}/data", "") == "OK"
        assert self.dom0.ask("SET_PERMS", home, "n0", f"r{domid}") == "OK"
        assert self.dom0.ask("SET_PERMS", f"{home}/name", "n0", f"r{domid}") == "OK"
        assert self.dom0.ask("SET_PERMS", f"{home}/data", f"n{domid}") == "OK"
        assert self.dom0.ask("INTRODUCE", str(domid), "1", "1") == "OK"
        return Peer(self.store, domid)

    def end(self, peer: Peer) -> None:
        """The domain dies, and the hypervisor's list says so."""
        peer.connection.close()
        self.host.existing.discard(peer.connection.session.domid)
        self.store.update_domains(dict.fromkeys(self.host.existing, False))

    @staticmethod
    def waits(peer: Peer) -> bool:
        """Whether its turn is over although requests are left."""
        return peer.connection.waiting

    def sound(self) -> bool:
        """Tree and accounts agree with each other."""
        return self.dom0.ask("CONTROL", "check") == "OK"
