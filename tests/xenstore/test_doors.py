"""Who may come in, and the socket of each domain."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.domain.vcpu import VCPU
from hvsim.xenstore.daemon.doors import Doors
from hvsim.xenstore.daemon.server import DOMAIN_CLIENTS
from hvsim.xenstore.rules.store import Domain, Store
from hvsim.xs import requests
from hvsim.xs.blocking import connect
from hvsim.xs.client import StoreError
from hvsim.xs.sockets import door_path
from tests.xenstore.lone import lone_store
from tests.xenstore.peer import Peer
from tests.xenstore.serving import serving

ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.connect(sys.argv[1])
    try:
        client.sendall(b"\\2\\0\\0\\0\\1\\0\\0\\0\\0\\0\\0\\0\\2\\0\\0\\0/\\0")
        print(len(client.recv(16)))
    except (BrokenPipeError, ConnectionResetError):
        print(0)
"""


def ask(path: str, *prefix: str) -> str:
    """What a program gets that is started behind *prefix*: bytes of an answer."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", ASK, path],
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_peer_in_another_user_namespace_is_not_served(tmp_path: Path) -> None:
    """A domain's process that has got hold of a way to connect is nobody here, although its user id
    is the owner's.  Red when ``may_connect`` looks at the user id alone."""
    if subprocess.run(["unshare", "-U", "true"], check=False).returncode:
        pytest.skip("this machine makes no user namespaces")
    with lone_store(tmp_path) as path:
        assert ask(path) == "16"
        assert ask(path, "unshare", "-U", "-r") == "0"
        assert ask(path) == "16"


@pytest.fixture
def store() -> Store:
    made = Store()
    dom0 = Peer(made)
    for domid in (1, 2):
        made.known.add(domid)
        made.domains[domid] = Domain(domid)
        dom0.ask("WRITE", f"/local/domain/{domid}/data", "")
        dom0.ask("SET_PERMS", f"/local/domain/{domid}/data", f"n{domid}")
    return made


@pytest.fixture
def doors(store: Store, tmp_path: Path) -> Iterator[Doors]:
    left_over = tmp_path / "d77"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left_over))
    vcpu = VCPU()
    made = Doors(str(tmp_path / "socket"), store, vcpu, None, pytest.fail)
    assert not left_over.exists()
    made.open(1)
    made.open(2)
    with serving(vcpu):
        yield made
    made.close_all()
    vcpu.close()
    assert os.listdir(tmp_path) == []


def test_what_comes_through_a_door_is_that_domain(doors: Doors, tmp_path: Path) -> None:
    """Red when the server of a door gives its clients domid 0."""
    path = door_path(tmp_path / "socket", 1)
    # In a directory that is closed to others: a domain of root's has an id of its own.
    assert path.stat().st_mode & 0o777 == 0o666
    assert path.parent.stat().st_mode & 0o077 == 0
    with connect(str(path)) as one, connect(str(door_path(path, 2))) as two:
        one.write("data/x", "1")
        assert one.get_perms("data/x") == ["n1"]
        with pytest.raises(StoreError, match="EACCES"):
            two.write("/local/domain/1/data/x", "2")
        with pytest.raises(StoreError, match="EACCES"):
            one.control("quota")
        seen: list[str] = []
        one.watch("data", seen.append)
        one.write("data/y", "1")
        while len(seen) < 2:
            assert one.poll(20)
        assert seen == ["data", "data/y"]
        # More than one turn and one quota of unread answers in one go.
        many = one.pipeline([requests.read("data/x") for _ in range(200)])
        assert many == ["1"] * 200


def test_the_clients_of_a_door_are_counted(doors: Doors, tmp_path: Path) -> None:
    path = str(door_path(tmp_path / "socket", 1))
    clients = [connect(path) for _ in range(DOMAIN_CLIENTS)]
    try:
        assert all(client.read("data") == "" for client in clients)
        with connect(path) as late, pytest.raises(StoreError):
            late.read("data")
    finally:
        for client in clients:
            client.close()
