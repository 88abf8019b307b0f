"""/dev/xen/xenbus as a device: a program that speaks the store's wire to it, well and badly.

What is expected is from Linux 6.1 drivers/xen/xenbus/xenbus_dev_frontend.c.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.devnodes.running import build
from tests.support.dom0_lab import Dom0
from tests.support.labs import commands
from tests.support.real_labs import STORES, RealLab, need
from tests.support.waits import wait

pytestmark = pytest.mark.interop

ERROR, READ, WATCH, UNWATCH, EVENT, END, WRITE = 16, 2, 4, 5, 15, 7, 11

ONE_ANSWER = "22"
"""Bytes of a question for "domid"."""


def expected(domain: str, domid: str) -> list[tuple[str, str]]:
    """Name and result of every attempt, in its order."""
    name = (f"{READ}/7 {domain}",)
    number = f"{READ}/7 {domid}"
    in_order = [
        ("long.header", "E2BIG"),
        ("long.body", "EINVAL"),
        ("long.next", "21"),
        ("long.answer", *name),
        ("long.partial", "10"),
        ("long.then-too-much", "EINVAL"),
        ("long.next", "21"),
        ("long.answer", *name),
        ("long.wild-too-much", "EINVAL"),
        ("long.wild", "EFAULT"),
        ("long.nothing", "0"),
        ("long.next", "21"),
        ("long.answer", *name),
        ("long.most", "4096"),
        # The store's quota; dom0 has none.
        ("long.most-answer", f"{WRITE}/7 OK" if domid == "0" else f"{ERROR}/7 ENOSPC"),
        ("pieces.bytes", number),
        ("pieces.header", "16"),
        ("pieces.body", "6"),
        ("pieces.answer", number),
        ("pieces.writev", ONE_ANSWER),
        ("pieces.writev-answer", number),
        ("pieces.two-in-one", "43"),
        ("pieces.first", number),
        ("pieces.second", "EAGAIN"),
        ("pieces.next", "21"),
        ("pieces.next-answer", *name),
        ("pieces.read-3", "3"),
        ("pieces.read-rest", str(2 * (16 + len(domid)) - 3)),
        ("pieces.read-empty", "EAGAIN"),
        ("pieces.read-wild", "EFAULT"),
        ("pieces.still-there", number),
        ("shared.header", "16"),
        ("shared.by-a-child", f"{READ}/9 {domid}"),
        ("shared.close", "0"),
        ("shared.by-the-copy", ONE_ANSWER),
        ("shared.answer", number),
        ("shared.other", ONE_ANSWER),
        ("shared.other-answer", number),
        ("shared.its-own", f"{READ}/9 {domid}"),
        ("watch.set", "25"),
        ("watch.ok", f"{WATCH}/7 OK"),
        ("watch.first", f"{EVENT}/0 data/w|t"),
        ("watch.twice", "25"),
        ("watch.twice-ok", f"{WATCH}/7 OK"),
        ("watch.twice-first", f"{EVENT}/0 data/w|t"),
        ("watch.written", f"{WRITE}/7 OK"),
        ("watch.event", f"{EVENT}/0 data/w|t"),
        ("watch.event", f"{EVENT}/0 data/w|t"),
        ("watch.off", "25"),
        ("watch.off-ok", f"{UNWATCH}/7 OK"),
        ("watch.off-bad-token", "25"),
        ("watch.off-bad-token-ok", f"{UNWATCH}/7 OK"),
        ("watch.bad-path", "EINVAL"),
        ("watch.no-token", "23"),
        ("watch.no-token", f"{ERROR}/7 EINVAL"),
        ("tx.write", f"{WRITE}/7 OK"),
        ("tx.of-another", f"{ERROR}/7 ENOENT"),
        ("tx.no-end", f"{ERROR}/7 EINVAL"),
        ("tx.end", f"{END}/7 OK"),
        ("tx.done", f"{READ}/7 one"),
        ("tx.over", f"{ERROR}/7 ENOENT"),
        ("device.ioctl", "ENOTTY"),
        ("device.lseek", "ESPIPE"),
        ("device.pread", "ESPIPE"),
        ("device.mmap", "ENODEV"),
        ("device.poll", "0"),
        ("device.epoll", "0"),
        ("device.epoll-wait", "1"),
        ("device.poll-ready", "1"),
        ("device.answer", number),
        ("device.is-a-device", "1"),
        ("done", "0"),
    ]
    return in_order


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The program itself: a guest sees no file of the test's."""
    return Path(build(tmp_path_factory.mktemp("xenbus"), "xenbus")).read_bytes()


def run(dom0: Dom0, domain: str, client: bytes) -> list[tuple[str, str]]:
    """What the client said in a domain: name and result of each attempt."""
    words = "f=/tmp/xenbus.$$; cat >$f; chmod +x $f; $f; s=$?; rm $f; exit $s"
    done = subprocess.run(
        dom0.lab.argv("exec", domain, "--", "sh", "-c", words),
        env=dom0.lab.environment,
        input=client,
        capture_output=True,
        timeout=90,
        check=False,
    )
    # SIGPIPE would be 141.
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    return [(name, result) for name, _, result in (line.partition(" ") for line in lines)]


@pytest.mark.parametrize(("domain", "domid"), [("g", "2"), ("Domain-0", "0")])
def test_the_device_is_that_of_linux(dom0: Dom0, client: bytes, domain: str, domid: str) -> None:
    """In a guest that is a Python program, and in Domain-0.

    Seen red: as a bare connection to the store, which hangs up after long.body; without the
    emptying of the buffer (long.answer never comes); with the rest of a write kept
    (pieces.second); with the program's tokens in the store (watch.twice-ok is EEXIST).
    """
    assert run(dom0, domain, client) == expected(domain, domid)


DOMAIN = """
[lab]
name = "itself"
[[domain]]
name = "g"
memory = 32
program = {{ exec = ["{program}", "stay"] }}
"""


@pytest.mark.parametrize("store", ["builtin", *STORES])
def test_the_device_of_a_domain_that_is_the_program(
    tmp_path: Path, client: bytes, store: str
) -> None:
    """The store is reached through its kernel, whichever daemon that is."""
    if store != "builtin":
        need(store)
    program = tmp_path / "xenbus"
    program.write_bytes(client)
    program.chmod(0o755)
    file = tmp_path / "lab.toml"
    file.write_text(DOMAIN.format(program=program), encoding="utf-8")
    wanted = expected("g", "1")
    if store == "oxenstored":  # which has another word for a value that is too long
        wanted[wanted.index(("long.most-answer", f"{ERROR}/7 ENOSPC"))] = (
            "long.most-answer",
            f"{ERROR}/7 E2BIG",
        )
    with commands() as hvsim:
        hvsim.ok("up", "--quiet", "--store", store, str(file))
        lab = RealLab(hvsim, "itself")
        wait(lambda: "done 0" in lab.console("g"), "the program's last line")
        said = lab.console("g").replace("\r", "").splitlines()
        hvsim.ok("down")
    assert [tuple(line.split(" ", 1)) for line in said] == wanted


PYTHON = r"""
import os, struct, time
fd = os.open("/dev/xen/xenbus", os.O_RDWR)

def ask(kind, body, tx=0):
    os.write(fd, struct.pack("<4I", kind, 1, tx, len(body)))
    os.write(fd, body)

def answer():
    kind, request, tx, size = struct.unpack("<4I", os.read(fd, 16))
    return kind, os.read(fd, size) if size else b""

ask(4, b"data/w\0token\0")
print("watch", answer(), answer())
ask(6, b"\0")
_, number = answer()
tx = int(number.rstrip(b"\0"))
print("begun", flush=True)
input()
try:
    ask(7, b"T\0", tx)
    print("end and event", sorted([answer(), answer()]))
    ask(11, b"data/w\0new")
    print("event", sorted([answer(), answer()]))
finally:
    ask(13, b"data/w\0")
"""


def test_the_store_dies_and_comes_back_under_an_open_file(dom0: Dom0) -> None:
    """The watch is there again and fires once; the transaction is to be begun anew.

    Red without ``Dialogue.again`` (no event comes, and the read waits for ever).
    """
    process = subprocess.Popen(
        dom0.lab.argv("exec", "Domain-0", "--", "timeout", "60", sys.executable, "-c", PYTHON),
        env=dom0.lab.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = [process.stdout.readline(), process.stdout.readline()]
    assert said == ["watch (4, b'OK\\x00') (15, b'data/w\\x00token\\x00')\n", "begun\n"]
    dom0.lab.ok("fault", "kill", "xenstored")
    dom0.lab.ok("xenstore", "read", "/local/domain/2/name")  # it is back
    rest, _ = process.communicate("\n", timeout=60)
    assert rest.splitlines() == [
        "end and event [(15, b'data/w\\x00token\\x00'), (16, b'EAGAIN\\x00')]",
        "event [(11, b'OK\\x00'), (15, b'data/w\\x00token\\x00')]",
    ]
