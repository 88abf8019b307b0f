"""What C xenstored 4.17.7 answered to an unprivileged guest (recording 86), asked of ours.

Each row is one request of the recording and its reply.  Differences, with their reasons, are in
``DIFFERENT``.
"""

from __future__ import annotations

import pytest

from hvsim.abi import xs_wire
from hvsim.xenstore.rules.store import Store
from tests.xenstore.peer import Peer

HOME = "/local/domain/1"
LAYOUT = {
    "/local/domain/0/name": ("Domain-0", "n0"),
    "/local/domain/0/domid": ("0", "n0"),
    "/local/domain/0/backend/vif/1/0": ("", "n0 r1"),
    "/local/domain/0/backend/vif/1/0/state": ("4", "n0 r1"),
    HOME: ("", "n0 r1"),
    f"{HOME}/domid": ("1", "n0 r1"),
    f"{HOME}/name": ("fatB", "n0 r1"),
    f"{HOME}/memory": ("", "n0 r1"),
    f"{HOME}/memory/target": ("98304", "n0 r1"),
    f"{HOME}/device": ("", "n0 r1"),
    f"{HOME}/device/suspend": ("", "n0 r1"),
    f"{HOME}/device/vif": ("", "n0 r1"),
    f"{HOME}/device/vif/0": ("", "n1 r0"),
    f"{HOME}/device/vif/0/state": ("4", "n1 r0"),
    f"{HOME}/device/vif/0/mac": ("00:16:3e:00:00:01", "n1 r0"),
    f"{HOME}/device/vif/0/mtu": ("1500", "n0 r1"),
    f"{HOME}/control": ("", "n0 r1"),
    f"{HOME}/control/shutdown": ("", "n1"),
    f"{HOME}/data": ("", "n1"),
    f"{HOME}/error": ("", "n1"),
    "/libxl": ("", "n0"),
    "/vm": ("", "n0"),
}

NODE_OPERATIONS = (
    xs_wire.XS_READ,
    xs_wire.XS_DIRECTORY,
    xs_wire.XS_GET_PERMS,
    xs_wire.XS_MKDIR,
    xs_wire.XS_RM,
)
"""Those whose payload is the name of a node and nothing else."""

GUEST = [
    ("READ domid", "1"),
    ("READ name", "fatB"),
    ("READ /local/domain/1/name", "fatB"),
    ("READ /local/domain/0/name", "EACCES"),
    ("READ /local/domain/0/domid", "EACCES"),
    ("READ /nosuch", "EACCES"),
    ("READ nosuch", "ENOENT"),
    ("READ /local/domain/0/backend/vif/1/0/state", "4"),
    ("READ /local/domain/0/backend", "EACCES"),
    ("DIRECTORY /local/domain/0", "EACCES"),
    ("DIRECTORY /local/domain", "EACCES"),
    ("DIRECTORY /", "EACCES"),
    ("DIRECTORY /libxl", "EACCES"),
    ("READ /vm", "EACCES"),
    ("DIRECTORY device", "suspend vif"),
    ("WRITE /local/domain/0/name x", "EACCES"),
    ("WRITE /newtop x", "EACCES"),
    ("WRITE name evil", "EACCES"),
    ("WRITE newkey x", "EACCES"),
    ("WRITE data/k1 v1", "OK"),
    ("READ data/k1", "v1"),
    ("GET_PERMS data/k1", "n1"),
    ("GET_PERMS data", "n1"),
    ("GET_PERMS name", "n0 r1"),
    ("GET_PERMS device/vif/0/state", "n1 r0"),
    ("GET_PERMS device/vif/0/mtu", "n0 r1"),
    ("WRITE device/vif/0/mtu 9000", "EACCES"),
    ("WRITE device/vif/0/state 4", "OK"),
    ("DIRECTORY device/vif/0/state", ""),
    ("WRITE device/vif/0/foo bar", "OK"),
    ("WRITE device/vif/9/state 1", "EACCES"),
    ("WRITE memory/target 1", "EACCES"),
    ("WRITE control/shutdown x", "OK"),
    ("WRITE control/foo x", "EACCES"),
    ("WRITE error/device/vif/0/error hm", "OK"),
    ("WRITE /local/domain/0/backend/vif/1/0/state 6", "EACCES"),
    ("RM device/vif/0/mac", "OK"),
    ("DIRECTORY device/vif/0/mac", "ENOENT"),
    ("RM device/vif", "EACCES"),
    ("RM data/none", "OK"),
    ("RM data/none/none", "ENOENT"),
    ("RM name", "EACCES"),
    ("MKDIR data/d1", "OK"),
    ("MKDIR data/d1", "OK"),
    ("MKDIR foo", "EACCES"),
    ("SET_PERMS data/k1 b1 n0", "OK"),
    ("SET_PERMS data/k1 n0", "EPERM"),
    ("GET_PERMS data/k1", "b1 n0"),
    ("SET_PERMS name n1", "EACCES"),
    ("SET_PERMS data/d1 n1 r7", "OK"),
    ("SET_PERMS data/d1 x7", "EINVAL"),
    ("SET_PERMS data/d1", "EINVAL"),
    ("GET_PERMS data/d1", "n1 r7"),
    ("INTRODUCE 5 1 1", "EACCES"),
    ("RELEASE 5", "EACCES"),
    ("SET_TARGET 1 2", "EACCES"),
    ("RESUME 1", "EACCES"),
    ("IS_DOMAIN_INTRODUCED 1", "EACCES"),
    ("CONTROL help", "EACCES"),
    ("GET_DOMAIN_PATH 77", "/local/domain/77"),
    (f"WRITE data/big {'a' * 2048}", "ENOSPC"),
    (f"WRITE data/{'p' * 2100} v", "EINVAL"),
    ("WRITE data//dbl v", "EINVAL"),
    ("WRITE data/tr/ v", "EINVAL"),
    ("WRITE data/ok-_@:x v", "EINVAL"),
    ("WRITE data/dot. v", "EINVAL"),
]


def lay_out(store: Store) -> Peer:
    """dom0's connection to a store that holds what libxl makes for a guest 1."""
    store.known.add(1)
    dom0 = Peer(store)
    for path, (value, perms) in LAYOUT.items():
        assert dom0.ask("WRITE", path, value) == "OK"
        assert dom0.ask("SET_PERMS", path, *perms.split()) == "OK"
    return dom0


def test_guest_gets_the_recorded_answers() -> None:
    store = Store()
    lay_out(store)
    guest = Peer(store, 1)
    got = [(request, guest.ask(*request.split(" "))) for request, _ in GUEST]
    assert got == GUEST


def test_guest_cannot_use_a_path_with_a_space() -> None:
    store = Store()
    lay_out(store)
    assert Peer(store, 1).ask("WRITE", "data/sp ace", "v") == "EINVAL"


def test_unknown_operation_is_enosys() -> None:
    assert Peer(Store(), 1).raw(99, b"") == (xs_wire.XS_ERROR, b"ENOSYS\0")


@pytest.mark.parametrize("domid", [0, 1])
@pytest.mark.parametrize("payload", [b"", b"nonul", b"\0"], ids=["empty", "no-nul", "nul"])
@pytest.mark.parametrize(
    "type",
    [
        *NODE_OPERATIONS,
        xs_wire.XS_WATCH,
        xs_wire.XS_UNWATCH,
        xs_wire.XS_SET_PERMS,
        xs_wire.XS_WRITE,
        xs_wire.XS_DIRECTORY_PART,
        xs_wire.XS_GET_DOMAIN_PATH,
    ],
)
def test_payload_without_a_string(type: int, payload: bytes, domid: int) -> None:
    """A READ without its NUL was answered with ENOENT; an empty one took the real daemon down
    (86b): here it is a request like any other, and the next one is answered."""
    no_name = type in NODE_OPERATIONS and payload != b"\0"
    peer = Peer(Store(), domid)
    assert peer.raw(type, payload) == (xs_wire.XS_ERROR, b"ENOENT\0" if no_name else b"EINVAL\0")
    assert peer.ask("GET_DOMAIN_PATH", "1") == "/local/domain/1"


def test_quota_of_nodes_in_one_directory_is_the_recorded_one() -> None:
    """531 short names fill the list of children (node-size 2048); then ENOSPC."""
    store = Store()
    lay_out(store)
    guest = Peer(store, 1)
    answers = [guest.ask("WRITE", f"data/q/{number}", "v") for number in range(540)]
    assert answers.index("ENOSPC") == 531
    assert set(answers[531:]) == {"ENOSPC"}


def test_quota_of_watches() -> None:
    store = Store()
    guest = Peer(store, 1)
    answers = [guest.ask("WATCH", f"data/w{number}", "t") for number in range(130)]
    assert answers == ["OK"] * 128 + ["E2BIG"] * 2
    assert guest.ask("UNWATCH", "data/w0", "t") == "OK"
    assert guest.ask("WATCH", "data/again", "t") == "OK"


def test_quota_of_nodes_and_transactions() -> None:
    store = Store()
    lay_out(store)
    guest = Peer(store, 1)
    for directory in range(10):
        for number in range(100):
            answer = guest.ask("WRITE", f"data/{directory}/{number}", "v")
            if answer != "OK":
                break
    assert answer == "ENOSPC"
    assert store.tree.account(1).nodes == 1000
    opened = [guest.ask("TRANSACTION_START", "") for _ in range(11)]
    assert opened[:10] == [str(number) for number in range(1, 11)]
    assert opened[10] == "ENOSPC"
    assert guest.end(3, commit=False) == "OK"
    assert guest.ask("TRANSACTION_START", "") != "ENOSPC"


def test_dom0_is_exempt() -> None:
    dom0 = Peer(Store())
    assert dom0.ask("WRITE", "/big", "a" * 4000) == "OK"
    assert all(dom0.ask("WATCH", f"/w{number}", "t") == "OK" for number in range(300))
