"""The store: tree, watches, domains, and who is told of what.  Pure: no I/O, no clock.

What only the outside can do (map a ring, look at the hypervisor's list of domains) is the
``Host``'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from hvsim.abi.errno import EINVAL, ENOENT
from hvsim.xenstore.rules import paths
from hvsim.xenstore.rules import permissions as perm
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.fairness import Governor
from hvsim.xenstore.rules.host import Host, NoHost
from hvsim.xenstore.rules.observer import Observer
from hvsim.xenstore.rules.permissions import Permissions
from hvsim.xenstore.rules.quota import Limits
from hvsim.xenstore.rules.transaction import Transaction
from hvsim.xenstore.rules.tree import Node, Tree
from hvsim.xenstore.rules.watches import Deliver, Watch, Watcher, WatchTable, send

SPECIAL: Final = (paths.INTRODUCE_DOMAIN, paths.RELEASE_DOMAIN)


class Member(Watcher, Protocol):
    """A session, as far as the store knows of it."""

    @property
    def watches(self) -> dict[tuple[bytes, bytes], Watch]:
        """By path and token."""

    @property
    def transactions(self) -> dict[int, Transaction]:
        """The open ones."""

    def close(self) -> None:
        """End it: its domain has gone."""


Command = Callable[[list[bytes]], bytes]
"""A CONTROL command: its arguments to the answer.  May raise Refused."""
Operations = Mapping[int, Callable[..., bytes]]
"""XS_* to what carries it out (``operations.table``)."""


class Domain:
    """A domain that was introduced.

    Attributes:
        connected: its ring is served.
        shutdown: it has stopped and ``@releaseDomain`` was fired for that.
        target: domid that it may act for, -1 for none.
        port: its event channel, as it was introduced with.
    """

    __slots__ = ("connected", "domid", "port", "shutdown", "target")

    def __init__(self, domid: int) -> None:
        self.domid = domid
        self.connected = True
        self.shutdown = False
        self.target = -1
        self.port = 0


class Store:
    """Everything that connections share.

    Attributes:
        tree, watches, limits: the parts.
        domains: domid to introduced domain; dom0 is always there.
        special: permissions of the special nodes.
        on_limit: hears of every time that a quota bites: its name, the domid, what happened.
        say: takes what CONTROL print and memreport have to say.
        switch_trace: turns the trace on and off; None: there is none.
        trace_to: lets it go on in another file; may raise OSError.
        governor: holds back who makes others' transactions fail; None holds nobody.
        on_bug: hears of an exception out of a request (EIO is answered then); None lets it pass.
        handshake: the monitor of device handshakes; None: nobody watches.
        operations: what carries requests out in the place of ``operations.table``; None: that does.
        deliver: gives a watch its event.
        commands: CONTROL commands of those who stand around the store, by name.
        sessions: everybody who is connected, in order of arrival.
        known: domids that exist although they were not introduced (the host's list).
        before_output: to be called before bytes leave for any client: what was answered is made
            durable (``recorder``).
        administration: goes up when domains, their rights or the limits change.
        life: how many processes have served this store, this one included.
    """

    def __init__(self, limits: Limits | None = None, host: Host | None = None) -> None:
        self.tree = Tree()
        self.watches = WatchTable()
        self.limits = limits or Limits()
        self.host: Host = host or NoHost()
        self.domains: dict[int, Domain] = {0: Domain(0)}
        self.known: set[int] = {0}
        self.special: dict[bytes, Permissions] = dict.fromkeys(SPECIAL, perm.DEFAULT)
        self.sessions: dict[Member, None] = {}
        self.commands: dict[bytes, Command] = {}
        self.operations: Operations | None = None
        self.deliver: Deliver = send
        self.on_bug: Callable[[str, Exception], None] | None = None
        self.on_limit: Callable[[str, int, str], None] | None = None
        self.governor: Governor | None = None
        self.say: Callable[[str], None] = _silent
        self.switch_trace: Callable[[bool], None] | None = None
        self.trace_to: Callable[[str], None] | None = None
        self.before_output: Callable[[], None] = _nothing
        self.administration = 0
        self.life = 1
        self.handshake: Observer | None = None
        for path in (b"/tool", b"/tool/xenstored"):
            self.tree.put(path, b"", perm.DEFAULT)

    # -- events ----------------------------------------------------------------------------------

    def fire(self, path: bytes, exact: bool = False, before: Sequence[Permissions] = ()) -> None:
        """Tell the watchers of *path* that it changed.

        A watcher hears of it when it may read the node or the directory that it is in, or might
        before: a removal is told while what is removed is still there, and *before* has the
        permissions that the change has taken away.
        """
        found = self.watches.matching(path, exact)
        if not found:
            return
        node = self.tree.nodes.get(path)
        above = self.tree.nodes.get(paths.parent(path))
        for watch in found:
            if self._may_hear(watch.owner, node, above, before):
                self.deliver(watch, path)

    def _may_hear(
        self,
        watcher: Watcher,
        node: Node | None,
        above: Node | None,
        before: Sequence[Permissions],
    ) -> bool:
        domid = watcher.domid
        if domid == 0:
            return True
        target = watcher.target
        if node is not None and perm.access(node.perms, domid, target) & perm.READ:
            return True
        if above is not None and perm.access(above.perms, domid, target) & perm.READ:
            return True
        return any(perm.access(perms, domid, target) & perm.READ for perms in before)

    def fire_special(self, path: bytes) -> None:
        """Tell the watchers of a special node."""
        perms = self.special[path]
        for watch in self.watches.matching(path, True):
            owner = watch.owner
            if perm.access(perms, owner.domid, owner.target) & perm.READ:
                self.deliver(watch, path)

    def remove(self, path: bytes) -> None:
        """Remove a node and all below it, and tell the watchers."""
        if len(self.watches):
            for below in self.tree.walk(path):
                self.fire(below, exact=below != path)
        self.tree.remove(path)

    def limit(self, name: str, domid: int, what: str) -> None:
        """A quota bit."""
        if self.on_limit is not None:
            self.on_limit(name, domid, what)

    # -- domains ---------------------------------------------------------------------------------

    def exists(self, domid: int) -> bool:
        """Whether the store knows of such a domain."""
        if domid in self.domains or domid in self.known:
            return True
        if not self.host.domain_exists(domid):
            return False
        self.administration += 1
        self.known.add(domid)  # it may get nodes and rights, to be taken away when it goes
        return True

    def introduce(self, domid: int, gfn: int, port: int) -> None:
        """XS_INTRODUCE.  Raises Refused(EINVAL) when the domain has no such ring or port."""
        if port <= 0 or domid < 0:
            raise Refused(EINVAL)
        domain = self.domains.get(domid)
        self.administration += 1
        if domain is not None and domain.connected:
            if domid:
                self.host.rebind_domain(domid, port)
                domain.port = port
            return
        self.host.connect_domain(domid, gfn, port)
        domain = self.domains[domid] = Domain(domid)
        domain.port = port
        self.known.add(domid)
        self.fire_special(paths.INTRODUCE_DOMAIN)

    def release(self, domid: int) -> None:
        """XS_RELEASE.  Raises Refused: ENOENT unknown, EINVAL not connected or dom0."""
        domain = self.domains.get(domid)
        if domain is None:
            raise Refused(ENOENT)
        if domid == 0 or not domain.connected:
            raise Refused(EINVAL)
        self._drop(domain)

    def _drop(self, domain: Domain) -> None:
        """A domain goes: its connection, what it owned, its rights."""
        self.administration += 1
        del self.domains[domain.domid]
        if domain.connected:
            self.host.disconnect_domain(domain.domid)
        self._forget(domain.domid)
        self.fire_special(paths.RELEASE_DOMAIN)

    def _forget(self, domid: int) -> None:
        """Remove what a domain owned, and its rights on what others own."""
        self.administration += 1
        self.known.discard(domid)
        for session in [found for found in self.sessions if found.domid == domid]:
            session.close()
        for path in self.tree.owned_by(domid):
            self.remove(path)
            if self.handshake is not None:
                self.handshake.removed(None, path)
        self.tree.forget_domain(domid)
        for session in self.sessions:
            for transaction in session.transactions.values():
                transaction.forget_domain(domid)
        self.tree.accounts.pop(domid, None)
        if self.governor is not None:
            self.governor.forget(domid)
        for other in self.domains.values():
            if other.target == domid:
                other.target = -1
                self._retarget(other)
        for path, perms in self.special.items():
            self.special[path] = perm.without_domain(perms, domid)

    def resume(self, domid: int) -> None:
        """XS_RESUME.  Raises Refused: ENOENT unknown, EINVAL dom0."""
        domain = self.domains.get(domid)
        if domain is None:
            raise Refused(ENOENT)
        if domid == 0:
            raise Refused(EINVAL)
        self.administration += 1
        domain.shutdown = False

    def set_target(self, domid: int, target: int) -> None:
        """XS_SET_TARGET.  Raises Refused(ENOENT) when one of them is unknown."""
        domain = self.domains.get(domid)
        if domain is None or target not in self.domains:
            raise Refused(ENOENT)
        self.administration += 1
        domain.target = target
        self._retarget(domain)

    def _retarget(self, domain: Domain) -> None:
        for session in self.sessions:
            if session.domid == domain.domid:
                session.target = domain.target

    def update_domains(self, alive: dict[int, bool]) -> None:
        """The hypervisor's list of domains changed.

        Args:
            alive: domid of every domain that is not dying to "it has shut down".

        ``@releaseDomain`` is fired once when a domain has shut down and once when it is gone.
        """
        gone = sorted(self.known - alive.keys() - self.domains.keys())
        self.administration += 1
        self.known = set(alive) | {0}
        for domid in gone:
            self._forget(domid)  # it went before it was introduced
        for domain in list(self.domains.values()):
            if domain.domid == 0:
                continue
            shutdown = alive.get(domain.domid)
            if shutdown is None:
                self._drop(domain)
            elif shutdown and not domain.shutdown:
                domain.shutdown = True
                self.fire_special(paths.RELEASE_DOMAIN)


def _nothing() -> None:
    """There is no journal."""


def _silent(_text: str) -> None:
    """Nobody listens."""
