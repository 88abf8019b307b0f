"""What C xenstored 4.17.7 answered on dom0's socket (recording 87), asked of ours."""

from __future__ import annotations

import pytest

from hvsim.abi.errno import EINVAL
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.host import NoHost
from hvsim.xenstore.rules.store import Store
from tests.fidelity.recording import commands
from tests.xenstore.peer import Peer


class OneDomain(NoHost):
    """A host on which only domain 1 has a ring."""

    def __init__(self) -> None:
        self.connected: list[int] = []

    def connect_domain(self, domid: int, gfn: int, port: int) -> None:
        if domid not in (1, 2):
            raise Refused(EINVAL)
        self.connected.append(domid)

    def rebind_domain(self, domid: int, port: int) -> None:
        assert domid in self.connected

    def domain_exists(self, domid: int) -> bool:
        return domid in (1, 2, 3)

    def disconnect_domain(self, domid: int) -> None:
        self.connected.remove(domid)


@pytest.fixture
def store() -> Store:
    store = Store(host=OneDomain())
    dom0 = Peer(store)
    assert dom0.ask("WRITE", "name", "Domain-0") == "OK"
    assert dom0.ask("INTRODUCE", "1", "1", "1") == "OK"
    return store


RECORDED = [
    (("READ", "name"), "Domain-0"),
    (("READ", "/"), ""),
    (("READ", ""), "EINVAL"),
    (("WRITE", "", "x"), "EINVAL"),
    (("GET_DOMAIN_PATH", "1"), "/local/domain/1"),
    (("IS_DOMAIN_INTRODUCED", "1"), "T"),
    (("IS_DOMAIN_INTRODUCED", "9999"), "F"),
    (("INTRODUCE", "1", "1", "1"), "OK"),
    (("INTRODUCE", "9999", "1", "1"), "EINVAL"),
    (("RELEASE", "9999"), "ENOENT"),
    (("GET_PERMS", "@releaseDomain"), "EINVAL"),
    (("GET_PERMS", "@introduceDomain"), "EINVAL"),
    (("SET_PERMS", "@releaseDomain", "n0", "r5"), "OK"),
    (("GET_PERMS", "@releaseDomain"), "EINVAL"),
    (("RM", "/"), "EINVAL"),
    (("DIRECTORY", "/"), "tool local"),
    (("WRITE", "/big", "a" * 4000), "OK"),
    (("RM", "/big"), "OK"),
    (("WRITE", "/m/n/o", "deep"), "OK"),
    (("READ", "/m/n"), ""),
    (("GET_PERMS", "/m/n"), "n0"),
    (("SET_PERMS", "/m", "n5", "r6"), "ENOENT"),
    (("WRITE", "/m/child", "x"), "OK"),
    (("GET_PERMS", "/m/child"), "n0"),
    (("RM", "/m"), "OK"),
    (("WATCH", "/", "root"), "OK"),
    (("WRITE", "/ww", "1"), "OK"),
    (("RM", "/ww"), "OK"),
    (("CONTROL", "print", "hello"), "OK"),
    (("CONTROL", "logfile"), "EINVAL"),
    (("CONTROL", "nosuch"), "EINVAL"),
    (("RM", "/nosuch"), "OK"),
    (("RM", "/nosuch/deeper"), "ENOENT"),
]


def test_control_help_is_the_recorded_one(store: Store) -> None:
    """Recording 80, and what stands in it is known.  Seen red with a line of ours in it."""
    (recorded,) = [
        command
        for command in commands("80-user-errors.txt")
        if command.line == "xenstore-control help"
    ]
    dom0 = Peer(store)
    assert dom0.ask("CONTROL", "help").rstrip("\n").split("\n") == recorded.output
    assert dom0.ask("CONTROL", "logfile", "/x").startswith("this store keeps no trace")
    for words in (["/usr/sbin/xenstored"], ["-c", "--verbose"]):
        assert dom0.ask("CONTROL", "live-update", *words).startswith("this store can only be")
    assert dom0.ask("CONTROL", "live-update", "-a") == "OK"


def test_dom0_gets_the_recorded_answers(store: Store) -> None:
    dom0 = Peer(store)
    assert [(request, dom0.ask(*request)) for request, _ in RECORDED] == RECORDED
    assert dom0.events == [("/", "root"), ("/ww", "root"), ("/ww", "root")]


def test_duplicate_watch_and_unknown_unwatch(store: Store) -> None:
    """Over the socket: EEXIST and ENOENT (INDEX, surprise 31)."""
    dom0 = Peer(store)
    assert dom0.ask("WATCH", "/a", "t") == "OK"
    assert dom0.ask("WATCH", "/a", "t") == "EEXIST"
    assert dom0.ask("WATCH", "/a", "other") == "OK"
    assert dom0.ask("UNWATCH", "/a", "wrong") == "ENOENT"


def test_quota_text_is_the_recorded_one(store: Store) -> None:
    assert Peer(store).ask("CONTROL", "quota") == (
        "Quota settings:\n"
        "nodes            :     1000 Nodes per domain\n"
        "watches          :      128 Watches per domain\n"
        "transactions     :       10 Transactions per domain\n"
        "outstanding      :       20 Outstanding requests per domain\n"
        "transaction-nodes:     1024 Max. number of accessed nodes per transaction\n"
        "memory           :  2621440 Total Xenstore memory per domain (error level)\n"
        "node-size        :     2048 Max. size of a node\n"
        "path-max         :     2048 Max. length of a node path\n"
        "permissions      :        5 Max. number of permissions per node\n"
    )


def test_release_domain_fires_at_shutdown_and_when_gone(store: Store) -> None:
    dom0, guest = Peer(store), Peer(store, 1)
    for peer in (dom0, guest):
        assert peer.ask("WATCH", "@releaseDomain", "r") == "OK"
        assert peer.take_events() == [("@releaseDomain", "r")]
    store.update_domains({0: False, 1: False})
    assert dom0.take_events() == []
    store.update_domains({0: False, 1: True})
    store.update_domains({0: False, 1: True})
    assert dom0.take_events() == [("@releaseDomain", "r")]
    store.update_domains({0: False})
    store.update_domains({0: False})
    assert dom0.take_events() == [("@releaseDomain", "r")]
    assert guest.take_events() == []  # (n0): a guest may watch, but hears nothing
    assert dom0.ask("IS_DOMAIN_INTRODUCED", "1") == "F"


def test_introduce_fires_and_resume_rearms(store: Store) -> None:
    dom0 = Peer(store)
    assert dom0.ask("WATCH", "@introduceDomain", "i") == "OK"
    dom0.take_events()
    assert dom0.ask("INTRODUCE", "2", "1", "1") == "OK"
    assert dom0.take_events() == [("@introduceDomain", "i")]
    assert dom0.ask("WATCH", "@releaseDomain", "r") == "OK"
    dom0.take_events()
    for _ in range(2):
        store.update_domains({0: False, 1: False, 2: True})
        assert dom0.take_events() == [("@releaseDomain", "r")]
        assert dom0.ask("RESUME", "2") == "OK"


def test_next_domain_of_the_same_number_inherits_nothing(store: Store) -> None:
    """XSA-322: what a gone domain owned is removed, its rights on other nodes are void."""
    dom0, guest = Peer(store), Peer(store, 1)
    dom0.ask("WRITE", "/shared", "secret")
    dom0.ask("SET_PERMS", "/shared", "n0", "b1")
    dom0.ask("MKDIR", "/local/domain/1/data")
    dom0.ask("SET_PERMS", "/local/domain/1/data", "n1")
    assert guest.ask("WRITE", "data/mine", "x") == "OK"
    assert guest.ask("READ", "/shared") == "secret"
    guest.connection.close()
    store.update_domains({0: False})
    assert dom0.ask("READ", "/local/domain/1/data/mine") == "ENOENT"
    assert dom0.ask("INTRODUCE", "1", "1", "1") == "OK"
    again = Peer(store, 1)
    assert again.ask("READ", "/shared") == "EACCES"
    assert store.tree.account(1).nodes == 0


def test_domain_that_goes_before_it_was_introduced(store: Store) -> None:
    """The toolstack gives a domain nodes first; its number may come back to another one."""
    dom0 = Peer(store)
    dom0.ask("WRITE", "/shared", "secret")
    assert dom0.ask("SET_PERMS", "/shared", "n0", "r3") == "OK"
    assert Peer(store, 3).ask("READ", "/shared") == "secret"
    store.update_domains({0: False, 1: False})
    assert Peer(store, 3).ask("READ", "/shared") == "EACCES"
