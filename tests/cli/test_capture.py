"""`hvsim capture` as a user runs it, on halves that do what the test says (tests/toolstack/tapped).

Captures of real conversations are in tests/net. Red, each tried: a command that loses the frames
of its last read when Ctrl-C comes; one that does not finish its file then.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.xs.blocking import connect
from hvsim.xs.client import Transaction
from tests.observe.blocks import Block, blocks
from tests.support.labs import ROOT, Commands, commands

LAB = """
[lab]
name = "cap"

[[domain]]
name = "net"
role = "driver"
memory = 16
program = "tapped:back"

[[domain]]
name = "guest"
memory = 16
program = "tapped:front"
"""
FRONT, BACK = "/local/domain/2/device/vif/0", "/local/domain/1/backend/vif/2/0"
EPB, IDB, ISB = 6, 1, 5


def _attach(tx: Transaction) -> None:
    """What libxl writes, as far as a capture cares."""
    for path, value, perms in (
        ("/libxl/2/device/vif/0/frontend", FRONT, None),
        ("/libxl/2/device/vif/0/backend", BACK, None),
        ("/libxl/2/device/vif/0/mac", "00:16:3e:00:00:02", None),
        (f"{BACK}/frontend", FRONT, ["n1", "r2"]),
        (f"{BACK}/frontend-id", "2", ["n1", "r2"]),
        (f"{BACK}/state", "1", ["n1", "r2"]),
        (f"{FRONT}/backend", BACK, ["n2", "r1"]),
        (f"{FRONT}/backend-id", "1", ["n2", "r1"]),
        (f"{FRONT}/state", "1", ["n2", "r1"]),
    ):
        tx.write(path, value)
        if perms is not None:
            tx.set_perms(path.rpartition("/")[0], perms)
            tx.set_perms(path, perms)


class Lab:
    """The lab, with the nodes of a vif."""

    def __init__(self, hvsim_: Commands, folder: Path) -> None:
        self.hvsim = hvsim_
        self.out = folder / "out.pcapng"
        file = folder / "cap.toml"
        file.write_text(LAB)
        shutil.copy(ROOT / "tests" / "toolstack" / "tapped.py", folder)
        hvsim_.ok("up", "--quiet", str(file))
        with connect(str(hvsim_.base / "cap" / "xenstored" / "socket"), "TEST") as store:
            store.transaction(_attach, "attach")
        self.wait(lambda: self.read(f"{FRONT}/state") == "4")

    def read(self, path: str) -> str:
        return self.hvsim.run("xenstore", "read", path).stdout.strip()

    def wait(self, condition: object) -> None:
        deadline = time.monotonic() + 30
        while not condition():  # type: ignore[operator]
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def frames(self, count: int, size: int = 60, domid: int = 1) -> None:
        self.hvsim.ok("xenstore", "write", f"/local/domain/{domid}/data/frames", f"{count} {size}")

    def capture(self, *words: str) -> subprocess.Popen[str]:
        """Start one and wait until it captures; the file is `out`."""
        started = self.hvsim.start("capture", "guest", "-w", str(self.out), *words)
        assert started.stdout is not None
        said = started.stdout.readline()
        assert "Ctrl-C ends it" in said, said + started.communicate()[0]
        return started

    def file(self) -> tuple[list[Block], list[Block], list[Block]]:
        """Interfaces, packets, statistics."""
        found = blocks(self.out.read_bytes())
        return tuple(  # type: ignore[return-value]
            [one for one in found if one.kind == kind] for kind in (IDB, EPB, ISB)
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with commands() as hvsim_:
        yield Lab(hvsim_, tmp_path_factory.mktemp("cap"))
        hvsim_.ok("down", "--now")  # its halves do not close


@pytest.fixture
def lab(made: Lab) -> Lab:
    made.out.unlink(missing_ok=True)
    return made


def test_it_ends_after_so_many_frames(lab: Lab) -> None:
    started = lab.capture("-c", "5", "-s", "100")
    before = time.time_ns()
    lab.frames(9, 300)
    said, _ = started.communicate(timeout=60)
    assert (started.returncode, said) == (0, "5 frames captured, 0 dropped\n")
    (interface,), packets, (counts,) = lab.file()
    assert interface.option(2) == b"vif2.0"
    assert interface.option(3) == b"interface 0 of guest (domain 2), back half in net (domain 1)"
    assert interface.option(6) == bytes.fromhex("00163e000002")
    assert struct.unpack_from("<I", interface.body, 4) == (100,)
    assert [(len(packet.data), packet.length) for packet in packets] == [(100, 300)] * 5
    assert [packet.flags & 3 for packet in packets] == [2, 1, 2, 1, 2]
    assert all(before <= packet.time_ns <= time.time_ns() for packet in packets)
    assert counts.option(4) == struct.pack("<Q", 9)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_finishes_the_file(lab: Lab, number: signal.Signals) -> None:
    started = lab.capture("--side", "front")
    lab.frames(40, domid=2)
    lab.wait(lambda: lab.out.stat().st_size > 40 * 60)
    started.send_signal(number)
    said, _ = started.communicate(timeout=60)
    assert (started.returncode, said) == (0, "40 frames captured, 0 dropped\n")
    (interface,), packets, (counts,) = lab.file()
    assert interface.option(3).endswith(b"front half in guest (domain 2)")
    assert len(packets) == 40
    assert counts.option(4) == struct.pack("<Q", 40)


def test_what_is_lost_is_counted_in_the_file(lab: Lab) -> None:
    """More than the ring holds in one burst: the frames before the gap, the gap, and the total."""
    started = lab.capture()
    lab.frames(3000, 3000)
    lab.wait(lambda: lab.out.stat().st_size > 100_000)
    lab.frames(1)
    time.sleep(0.5)
    started.send_signal(signal.SIGINT)
    said, _ = started.communicate(timeout=60)
    _, packets, (counts,) = lab.file()
    dropped = struct.unpack("<Q", counts.option(5))[0]
    assert said == f"{len(packets)} frames captured, {dropped} dropped\n"
    assert struct.unpack("<Q", counts.option(4))[0] == 3001 == len(packets) + dropped
    gaps = [struct.unpack("<Q", value)[0] for one in packets for code, value in one.options
            if code == 4]  # fmt: skip
    assert sum(gaps) == dropped > 0


def test_into_a_pipe_that_is_closed(lab: Lab) -> None:
    """The reader has seen enough: the capture ends, and nothing of it stays."""
    told, tell = os.pipe()
    started = subprocess.Popen(
        lab.hvsim.argv("capture", "guest", "-w", "-"),
        stdin=subprocess.DEVNULL,
        stdout=tell,
        stderr=subprocess.PIPE,
        text=True,
        env=lab.hvsim.environment,
    )
    os.close(tell)
    assert os.read(told, 4) == b"\x0a\x0d\x0d\x0a"
    os.close(told)
    lab.frames(5)
    said = started.communicate(timeout=60)[1]
    assert "Traceback" not in said
    assert lab.read(f"{BACK}/capture") == ""


def test_after_some_seconds(lab: Lab) -> None:
    started = lab.capture("--seconds", "0.3")
    said, _ = started.communicate(timeout=60)
    assert (started.returncode, said) == (0, "0 frames captured, 0 dropped\n")
    assert [len(part) for part in lab.file()] == [1, 0, 1]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nobody", "-w", "x"), "nobody is an invalid domain identifier"),
        (("guest/3", "-w", "x"), "domain 2 has no vif 3"),
        (("guest", "-w", "/nowhere/x"), "/nowhere/x: No such file or directory"),
        (("guest", "-w", "/"), "/: Is a directory"),
    ],
)
def test_refusals(lab: Lab, tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    done = lab.hvsim.run("capture", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_domain_that_breaks_its_ring_ends_the_capture(lab: Lab) -> None:
    """Nonsense in the ring is a clear error, and what came before it is in the file."""
    started = lab.capture("--side", "front")
    lab.frames(3, domid=2)
    lab.wait(lambda: lab.out.stat().st_size > 3 * 60)
    lab.hvsim.ok("xenstore", "write", "/local/domain/2/data/frames", "break")
    said, _ = started.communicate(timeout=60)
    assert started.returncode == 0
    assert "3 frames captured, 0 dropped; domain 2 broke its capture ring: producer index" in said
    assert len(lab.file()[1]) == 3
