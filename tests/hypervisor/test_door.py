"""The owner's door: what it shows, what it refuses, and what the machine leaves in writing."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest

from hvsim.abi import domctl
from hvsim.abi.errno import EPERM, ESRCH
from hvsim.abi.hypercall import (
    HVSIM_DOMCTL_fault,
    HVSIM_DOMCTL_spawn,
    HVSIM_OP_note,
    HVSIM_SYSCTL_ledger,
    HVSIM_SYSCTL_processes,
    HYPERVISOR_domctl,
    HYPERVISOR_hvsim_op,
    HYPERVISOR_sysctl,
)
from hvsim.hypervisor.door import MAX_VISITORS
from hvsim.lab.rundir import RunDir
from hvsim.observe.events import follow
from tests.hypervisor.client import PATIENCE, Lab
from tests.support.waits import wait


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("door") / "hypervisor"


@pytest.fixture(scope="module")
def lab(place: Path) -> Iterator[Lab]:
    with Lab(door=str(place)) as lab:
        yield lab


@contextmanager
def visit(place: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(place))
        yield sock


def ask(place: Path, *message: Any) -> Any:
    with visit(place) as sock:
        sock.send(msgpack.packb(message))
        return msgpack.unpackb(sock.recv(1 << 17), strict_map_key=False)


def test_it_tells_of_domains_processes_and_decisions(lab: Lab, place: Path) -> None:
    guest = lab.guest()
    rc, rows = ask(place, HYPERVISOR_sysctl, domctl.XEN_SYSCTL_getdomaininfolist, 0, 100)
    assert (rc, {row["domid"] for row in rows}) == (0, {0, guest.domid})
    rc, rows = ask(place, HYPERVISOR_sysctl, HVSIM_SYSCTL_processes)
    own = [row for row in rows if row["domid"] == guest.domid]
    assert [(row["pid"], row["alive"], row["stalled"]) for row in own] == [(guest.pid, True, False)]
    assert ask(place, HYPERVISOR_sysctl, HVSIM_SYSCTL_ledger, 0, 10)[1]
    lab.destroy(guest.domid)


def test_a_fault_reaches_any_process_and_is_remembered(lab: Lab, place: Path) -> None:
    """Red when ``struck`` is not set: whoever rebuilds domains would take the kill for a program
    that cannot run."""
    guest = lab.guest()

    def row() -> dict[str, Any]:
        rows = ask(place, HYPERVISOR_sysctl, HVSIM_SYSCTL_processes)[1]
        return next(row for row in rows if row["pid"] == guest.pid)

    stalled = ask(place, HYPERVISOR_domctl, HVSIM_DOMCTL_fault, guest.domid, "", "stall")
    assert (stalled, row()["stalled"]) == ([0, guest.pid], True)
    assert ask(place, HYPERVISOR_domctl, HVSIM_DOMCTL_fault, guest.domid, "", "resume")[0] == 0
    assert ask(place, HYPERVISOR_domctl, HVSIM_DOMCTL_fault, guest.domid, "", "kill")[0] == 0
    wait(lambda: not row()["alive"], "its end")
    wait(lambda: row()["status"] is not None, "the spawner's word of it")
    assert (row()["struck"], row()["status"]) == (True, int(signal.SIGKILL))
    assert ask(place, HYPERVISOR_domctl, HVSIM_DOMCTL_fault, 99, "", "kill") == [-ESRCH]
    lab.destroy(guest.domid)


def test_who_follows_the_ledger_misses_nothing_and_keeps_nobody_waiting(
    lab: Lab, place: Path
) -> None:
    """Red when ``on_news`` is not set: nobody is told."""
    found: list[dict[str, Any]] = []
    end = threading.Event()

    def listen() -> None:
        for record in follow(RunDir(place.parent)):
            found.append(record)
            if record["kind"] == "test.last":
                end.set()
                return

    listener = threading.Thread(target=listen)
    listener.start()
    for number in range(50):
        lab.dom0.call(HYPERVISOR_hvsim_op, HVSIM_OP_note, "test.some", 0, str(number))
    wait(lambda: found and found[-1]["text"] == "49", "the records so far")
    lab.dom0.call(HYPERVISOR_hvsim_op, HVSIM_OP_note, "test.last", 0, "")
    assert end.wait(PATIENCE)
    listener.join()
    numbers = [record["seq"] for record in found]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert [record["text"] for record in found if record["kind"] == "test.some"] == [
        str(number) for number in range(50)
    ]


@pytest.mark.parametrize(
    "message",
    [
        [HYPERVISOR_domctl, domctl.XEN_DOMCTL_destroydomain, 0],
        [HYPERVISOR_domctl, HVSIM_DOMCTL_spawn, 0, {"program": "os:abort"}],
        [HYPERVISOR_hvsim_op, HVSIM_OP_note, "a.b", 0, "x"],
        [HYPERVISOR_sysctl, domctl.XEN_SYSCTL_readconsole, True],
        [[1], HYPERVISOR_domctl, domctl.XEN_DOMCTL_destroydomain, 0],
        [[[1]], 2, 3],
        7,
        b"",
    ],
)
def test_everything_else_is_refused(lab: Lab, place: Path, message: Any) -> None:
    """Red with ``Dispatcher`` in the place of ``Visits``."""
    with visit(place) as sock:
        sock.send(msgpack.packb(message))
        assert msgpack.unpackb(sock.recv(1 << 17)) == [-EPERM]
    assert lab.info(0) is not None


def test_a_crowd_costs_nobody_else_anything(lab: Lab, place: Path) -> None:
    """Red when visitors that leave are not taken off: the door would stay shut for ever."""
    with visit(place) as first:
        crowd = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(MAX_VISITORS)]
        for sock in crowd:
            sock.settimeout(PATIENCE)
            sock.connect(str(place))
            lab.info(0)
        assert crowd[-1].recv(10) == b"", "who comes then is turned away"
        first.send(msgpack.packb([HYPERVISOR_sysctl, HVSIM_SYSCTL_processes]))
        assert msgpack.unpackb(first.recv(1 << 17))[0] == 0
        for sock in crowd:
            sock.close()
    lab.info(0)
    assert ask(place, HYPERVISOR_sysctl, HVSIM_SYSCTL_processes)[0] == 0


def test_a_process_of_another_user_namespace_is_turned_away(lab: Lab, place: Path) -> None:
    """As a domain's program is, whatever uid it has.  Red when ``may_enter`` looks at the uid
    alone."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            # CLONE_NEWUSER; os.unshare came with Python 3.12.
            import ctypes

            if ctypes.CDLL(None, use_errno=True).unshare(0x10000000):
                os.write(writer, b"none")
            else:
                os.write(writer, repr(ask(place, HYPERVISOR_sysctl, 0x101)).encode())
        except BaseException as error:
            os.write(writer, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    if said == "none":
        pytest.skip("this machine has no user namespaces")
    assert said in ("ConnectionResetError", "BrokenPipeError", "OutOfData", "ValueError"), said


def test_the_end_of_dom0s_kernel_is_written_down(tmp_path: Path) -> None:
    with Lab(obituary=str(tmp_path / "ended")) as lab:
        lab.dom0.die()
        assert lab.process.wait(PATIENCE) == 1
        pid = lab.dom0.pid
    text = (tmp_path / "ended").read_text()
    assert text == f"dom0's kernel (pid {pid}): killed by signal 9; Hardware Dom0 shutdown: crash\n"
