"""The spawner as a process, driven over its real wire."""

import contextlib
import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from hvsim.spawn.sandbox import identity
from tests.domain.spawner_harness import Harness, SpawnFailed, gone
from tests.support.waits import wait


@pytest.fixture(scope="module")
def started() -> Iterator[Harness]:
    with Harness() as harness:
        yield harness


@pytest.fixture
def spawner(started: Harness) -> Iterator[Harness]:
    """Without a child, as the next test finds it too."""
    yield started
    started.end_children()


def descriptors(pid: int) -> dict[str, str]:
    """What a process has open, by number; what it closes meanwhile is no part of it."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[fd] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


def finish(harness: Harness) -> Any:
    """The spawner's next message, which must be an exit: [pid, status]."""
    message, fds = harness.receive()
    assert (message[0], fds) == ("exited", [])
    return message[1:]


def test_a_child_holds_its_own_descriptors_and_nothing_else(spawner: Harness) -> None:
    first = spawner.spawn("idle")  # a sibling, so that there is something to inherit
    first.receive()
    extra = os.open("/dev/zero", os.O_RDONLY)
    os.set_inheritable(extra, True)
    child = spawner.spawn("describe")
    os.close(extra)
    seen = child.receive()
    *numbers, epoll = [fd for fd, _ in seen["fds"]]
    assert numbers == [0, 1, 2, 3, 4]
    assert seen["epoll"] == epoll
    inodes = dict(seen["fds"])
    assert inodes[0] == inodes[1] == inodes[2] == os.stat("/dev/null").st_ino
    assert inodes[4] == os.fstat(child.upcall).st_ino
    assert seen["numbers"] == [3, 4]
    assert seen["upcall"] == 7  # the very eventfd that we gave
    assert finish(spawner) == [child.pid, 0]


def test_a_child_is_alone_in_its_namespaces(spawner: Harness) -> None:
    child = spawner.spawn("describe")
    seen = child.receive()
    if not child.missing:
        assert (seen["pid"], seen["sid"]) == (1, 1)
        assert seen["uid"] == 0  # of its own user namespace, and of nothing else
    assert seen["nofile"] <= 1024
    assert seen["core"] == 0
    assert seen["sigint"]
    assert seen["sigpipe"]


def test_each_namespace_differs_from_ours(spawner: Harness) -> None:
    child = spawner.spawn("idle")
    child.receive()
    absent = {entry.split(":")[0] for entry in child.missing}
    for name, link in (("user-ns", "user"), ("pid-ns", "pid"), ("ipc-ns", "ipc"),
                       ("mount-ns", "mnt"), ("net-ns", "net")):  # fmt: skip
        if name not in absent:
            theirs = os.readlink(f"/proc/{child.pid}/ns/{link}")
            assert theirs != os.readlink(f"/proc/self/ns/{link}"), link


def test_the_kernel_confirms_the_walls(spawner: Harness) -> None:
    child = spawner.spawn("idle", name="a-name-that-is-far-too-long")
    child.receive()
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{child.pid}/status").read_text().splitlines()
    )
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    # Root's domains are not root, and each is somebody else; all four ids of it.
    own = identity.own_id(child.pid) if os.geteuid() == 0 else os.geteuid()
    assert status["Uid"].split() == [str(own)] * 4
    assert status["Name"] == "a-name-that-is-"


def test_a_trusted_process_has_no_walls_but_no_descriptors_of_others_either(
    spawner: Harness,
) -> None:
    child = spawner.spawn("describe", profile="dom0")
    seen = child.receive()
    assert child.missing == []
    assert [fd for fd, _ in seen["fds"]] == [0, 1, 2, 3, 4]
    assert seen["pid"] == child.pid
    assert seen["uid"] == os.getuid()


def test_status_of_children_is_reported(spawner: Harness) -> None:
    child = spawner.spawn("leave", args={"status": 7})
    pid, status = finish(spawner)
    assert (pid, os.waitstatus_to_exitcode(status)) == (child.pid, 7)
    victim = spawner.spawn("idle")
    signal.pidfd_send_signal(victim.pidfd, signal.SIGKILL)
    pid, status = finish(spawner)
    assert (pid, os.waitstatus_to_exitcode(status)) == (victim.pid, -signal.SIGKILL)


def test_a_traceback_goes_to_the_log_and_the_status_is_1(spawner: Harness, tmp_path: Path) -> None:
    log = tmp_path / "du1.log"
    spawner.spawn("talk", stdout=str(log))
    assert os.waitstatus_to_exitcode(finish(spawner)[1]) == 1
    text = log.read_text()
    assert text.startswith("to the log\n")
    assert "RuntimeError: and a traceback" in text
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"stdout": "/nonexistent/log"}, "/nonexistent/log: No such file"),
        ({"files": [["/nonexistent/image", "rw"]]}, "/nonexistent/image: No such file"),
        ({"profile": "king"}, "profile"),
    ],
)
def test_what_fails_before_the_program_runs_is_told(
    spawner: Harness, more: dict[str, Any], text: str
) -> None:
    with pytest.raises(SpawnFailed, match=text):
        spawner.spawn("idle", **more)
    # and nothing else is told about that child: the next message is the next child's
    spawner.spawn("leave", args={"status": 0})
    assert finish(spawner)[1] == 0


def test_a_log_behind_a_symbolic_link_is_refused(spawner: Harness, tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpawnFailed, match="symbolic links"):
        spawner.spawn("idle", stdout=str(tmp_path / "log"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_request_with_too_many_descriptors_leaks_none(spawner: Harness) -> None:
    spawner.spawn("leave", args={"status": 0})
    finish(spawner)
    before = descriptors(spawner.process.pid).keys()
    extra = spawner.request({"name": "du1", "program": "idle"}, extra=(0, 0))
    message, _ = spawner.receive()
    assert message[0] == "failed"
    assert "4" in message[2]
    os.close(extra.upcall)
    extra.conn.close()
    # It answers first and closes then: what it had open before may be less by now.
    wait(lambda: descriptors(spawner.process.pid).keys() <= before, "it to close them")
    spawner.spawn("leave", args={"status": 0})
    finish(spawner)
    wait(lambda: descriptors(spawner.process.pid).keys() <= before, "it to close a child's")


def test_garbage_does_not_stop_the_spawner(capfd: pytest.CaptureFixture[str]) -> None:
    with Harness() as spawner:
        for garbage in (b"\xc1", msgpack.packb("spawn"), msgpack.packb(["spawn", "x", {}])):
            spawner.channel.send(garbage)
        spawner.spawn("leave", args={"status": 0})
        finish(spawner)
    assert capfd.readouterr().err.count("bad request") == 3


def test_many_children_at_once_and_none_is_left(spawner: Harness) -> None:
    pending = [
        spawner.request({"name": f"du{n}", "program": "idle", "profile": "guest"})
        for n in range(20)
    ]
    spawned = {}
    for _ in pending:
        message, fds = spawner.receive()
        assert message[0] == "spawned"
        spawned[message[1]] = (message[2], fds[0])
    for child in pending:
        assert child.receive() == "up"
        child.conn.send(b"x")
    exited = {finish(spawner)[0] for _ in pending}
    assert exited == {pid for pid, _ in spawned.values()}
    for child, (_, pidfd) in zip(pending, spawned.values(), strict=True):
        child.pidfd = pidfd
        child.close()
    for maker, known in ((spawner.process.pid, 2), (spawner.warden(), 1)):
        held = descriptors(maker).values()
        assert sum("pidfd" in name for name in held) == known  # its own, and the warden


@pytest.fixture
def own() -> Iterator[Harness]:
    """For one test alone."""
    with Harness() as harness:
        yield harness


def test_messages_wait_while_the_hypervisor_does_not_read(own: Harness) -> None:
    own.channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    spec = {"name": "du1", "program": "nothing"}  # refused for its third descriptor
    wanted = 600

    def feed() -> None:
        for _ in range(wanted // 2):
            child = own.request(spec, extra=(0,))
            child.conn.close()  # at once: an ordinary user may hold 1024 descriptors
            os.close(child.upcall)

    feed()
    feeder = threading.Thread(target=feed)
    feeder.start()
    tokens = [own.receive()[0][1] for _ in range(wanted)]
    feeder.join()
    assert tokens == list(range(1, wanted + 1))


@pytest.mark.parametrize("profile", ["guest", "driver", "dom0"])
def test_children_die_with_the_spawner_even_by_sigkill(profile: str) -> None:
    with Harness() as harness:
        child = harness.spawn("sleep", profile=profile)
        child.receive()
        harness.kill_spawner()
        assert gone(child.pidfd)


def test_children_die_when_the_hypervisor_closes() -> None:
    with Harness() as harness:
        child = harness.spawn("sleep")
        child.receive()
        harness.channel.close()
        assert harness.process.wait(20) == 0
        assert gone(child.pidfd)


def test_the_spawner_has_one_thread(spawner: Harness) -> None:
    spawner.spawn("leave", args={"status": 0})
    finish(spawner)
    assert len(os.listdir(f"/proc/{spawner.process.pid}/task")) == 1


def test_a_child_finds_nothing_that_another_was_told(spawner: Harness) -> None:
    told = {"padding": "x" * 1000, "secret": "-".join(("told", "to", "another", "domain"))}
    for profile in ("guest", "dom0"):
        assert spawner.spawn("idle", profile=profile, args=told).receive() == "up"
    without = ["namespaces", "landlock", "dumpable"]  # it has to see its own /proc
    assert spawner.spawn("remember", without=without).receive() is False
    finish(spawner)
    # the control: what it was told itself, it finds
    assert spawner.spawn("remember", without=without, args=told).receive() is True


def test_a_guest_that_looks_like_dom0_is_refused(spawner: Harness) -> None:
    looks = msgpack.packb("profile") + msgpack.packb("dom0")
    with pytest.raises(SpawnFailed, match="another profile"):
        spawner.spawn("idle", args={"trick": looks})


def test_a_child_that_hangs_before_it_runs_is_killed_and_told() -> None:
    impatient = ("--setup-timeout", "0.2")
    with Harness("tests.domain.spawn_hang:run", options=impatient) as spawner:
        with pytest.raises(SpawnFailed, match=r"did not build its sandbox within 0\.2 s"):
            spawner.spawn("idle")
        children = f"/proc/{spawner.warden()}/task/{spawner.warden()}/children"
        wait(lambda: Path(children).read_text() == "", "it to be reaped")
