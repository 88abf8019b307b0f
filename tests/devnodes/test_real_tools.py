"""Debian's own Xen programs as processes of a running lab's domains, by `hvsim exec`.

Two vchan-socket-proxy of two guests move data between them; xl, xentop and xen-detect of dom0 say
what `hvsim xl` says.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import IO

import pytest

from tests.support import optional
from tests.support.labs import Commands, standing

pytestmark = pytest.mark.interop

LAB = """
[lab]
name = "tools"
[[domain]]
name = "one"
memory = 16
program = "domains.guests.idle:main"
[[domain]]
name = "two"
memory = 24
program = "domains.guests.idle:main"
"""
TIMEOUT = 60.0
SIZE = 16 << 20
_numbers = itertools.count()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    optional.node_library()
    with standing(tmp_path_factory.mktemp("lab") / "tools.toml", LAB) as made:
        yield made


# ---- vchan ----


class Proxies:
    """A proxy in each guest; what one reads from its input the other writes to its output."""

    def __init__(self, lab: Commands, name: str) -> None:
        proxy = optional.xen_program("vchan-socket-proxy")
        self._lab = lab
        node = f"data/vchan/{name}"
        server = f"echo $$; exec {proxy} -m server 2 {node} -"
        self.server = self._start("one", "sh", "-c", server)
        assert self.server.stdout is not None
        self.server_pid = int(self.server.stdout.readline())
        self._wait_for(f"/local/domain/1/{node}/event-channel")
        self.client = self._start("two", proxy, "-m", "client", "1", f"/local/domain/1/{node}", "-")

    def close(self) -> None:
        for process in (self.server, self.client):
            process.kill()
            process.communicate(timeout=60)

    def both(self) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
        return self.server, self.client

    def meet(self) -> None:
        """A word each way, so that both are known to be connected."""
        for source, target in (self.both(), reversed(self.both())):
            assert source.stdin is not None
            assert target.stdout is not None
            source.stdin.write(b"word")
            source.stdin.flush()
            assert target.stdout.read(4) == b"word"

    def _start(self, domain: str, *argv: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._lab.argv("exec", domain, "--", *argv),
            env=self._lab.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def _wait_for(self, path: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while self._lab.run("xenstore", "read", path).returncode:
            assert time.monotonic() < deadline, f"waited for {path}"


@pytest.fixture
def proxies(lab: Commands) -> Iterator[Proxies]:
    # libxenvchan has 64 bytes for a path.
    made = Proxies(lab, str(next(_numbers)))
    try:
        made.meet()
        yield made
    finally:
        made.close()


def feed(stream: IO[bytes], block: bytes, count: int) -> None:
    for _ in range(count):
        stream.write(block)
    stream.flush()


@pytest.mark.timeout(400)
def test_vchan_carries_16_mib_each_way(proxies: Proxies) -> None:
    """Byte for byte, both ways at once.

    Red when a written port is not heard again (``EvtchnFile.written``): then it stands still.
    """
    blocks = [os.urandom(1 << 20) for _ in range(2)]
    got: list[str] = ["", ""]

    def take(number: int, stream: IO[bytes]) -> None:
        seen = hashlib.sha256()
        left = SIZE
        while left and (chunk := stream.read(min(left, 1 << 20))):
            seen.update(chunk)
            left -= len(chunk)
        got[number] = seen.hexdigest()

    threads = []
    for number, process in enumerate(proxies.both()):
        assert process.stdin is not None
        assert process.stdout is not None
        threads.append(threading.Thread(target=take, args=(number, process.stdout)))
        threads.append(
            threading.Thread(
                target=feed, args=(process.stdin, blocks[number], SIZE // len(blocks[number]))
            )
        )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(6 * TIMEOUT)  # much work, for a busy machine
    assert not any(thread.is_alive() for thread in threads)
    sent = [hashlib.sha256(block * (SIZE // len(block))).hexdigest() for block in blocks]
    assert got == [sent[1], sent[0]]


@pytest.mark.parametrize("victim", ["the server", "the client", "the server's process"])
def test_the_other_end_ends_cleanly(lab: Commands, proxies: Proxies, victim: str) -> None:
    """A killed end is told of by UNMAP_NOTIFY: its byte in the ring page, and an event.

    Red when ``GrefPool.put`` does not clear the byte (the server dies and the client waits for
    ever), or ``GrantArea.page_gone`` does not (the client dies).
    """
    if victim == "the server":
        proxies.server.kill()
    elif victim == "the client":
        proxies.client.kill()
    else:
        lab.ok("exec", "one", "--", "sh", "-c", f"kill -9 {proxies.server_pid}")
    left = proxies.server if victim == "the client" else proxies.client
    # Its input stays open: an end of that would end it, too.
    assert left.wait(TIMEOUT) == 0
    assert left.stdout is not None
    assert left.stderr is not None
    assert (left.stdout.read(), left.stderr.read()) == (b"", b"")


# ---- xl, xentop, xen-detect ----


def real(lab: Commands, *argv: str) -> str:
    """What a real program in dom0 prints; skips the test where it is not installed."""
    optional.program(argv[0])
    done = lab.run("exec", "Domain-0", "--", *argv)
    assert (done.returncode, done.stderr) == (0, ""), (done.stdout, done.stderr)
    return done.stdout


def without(text: str, *patterns: str) -> list[str]:
    """Lines, with what may differ from one look to the next taken out."""
    for pattern in patterns:
        text = re.sub(pattern, "~", text)
    return text.splitlines()


STATE = r"\s[r-][b-][p-][s-][c-][d-](?=\s)"
SECONDS = r"\s+\d+\.\d(?=\s|$)"


@pytest.mark.parametrize("flags", [(), ("-v",)])
def test_xl_list(lab: Commands, flags: tuple[str, ...]) -> None:
    """Red when getdomaininfo tells the pages of another member (``_pack_info``)."""
    theirs = real(lab, "xl", "list", *flags)
    ours = lab.ok("xl", "list", *flags)
    assert without(theirs, STATE, SECONDS) == without(ours, STATE, SECONDS)
    assert [line.split()[:4] for line in theirs.splitlines()[1:]] == [
        ["Domain-0", "0", "512", theirs.splitlines()[1].split()[3]],
        ["one", "1", "16", "1"],
        ["two", "2", "24", "1"],
    ]


def test_xl_list_of_a_paused_domain(lab: Commands) -> None:
    lab.ok("xl", "pause", "two")
    try:
        assert "--p---" in real(lab, "xl", "list", "two")
    finally:
        lab.ok("xl", "unpause", "two")


def test_xl_domid_and_domname(lab: Commands) -> None:
    assert real(lab, "xl", "domid", "two") == lab.ok("xl", "domid", "two") == "2\n"
    assert real(lab, "xl", "domname", "1") == lab.ok("xl", "domname", "1") == "one\n"


def test_xl_info(lab: Commands) -> None:
    patterns = (r"cpu_mhz .*", r"free_memory .*")
    theirs = real(lab, "xl", "info")
    assert without(theirs, *patterns) == without(lab.ok("xl", "info"), *patterns)
    facts = dict(re.split(r"\s*: ?", line, maxsplit=1) for line in theirs.splitlines())
    assert facts["xen_version"] == "4.17.7-hvsim"
    assert int(facts["total_memory"]) - int(facts["free_memory"]) == 512 + 16 + 24


def test_xl_vcpu_list(lab: Commands) -> None:
    patterns = (r"\s+\d+\s+[r-][b-]-", SECONDS)
    theirs = real(lab, "xl", "vcpu-list")
    assert without(theirs, *patterns) == without(lab.ok("xl", "vcpu-list"), *patterns)
    assert theirs.splitlines()[-1].split()[:3] == ["two", "2", "0"]


def test_xentop(lab: Commands) -> None:
    lines = real(lab, "xentop", "-b", "-i", "2").splitlines()
    rows = [line.split() for line in lines]
    assert [row[0] for row in rows] == 2 * ["NAME", "Domain-0", "one", "two"]
    shown = {row[0]: int(row[4]) for row in rows if row[0] != "NAME"}
    listed = {row["name"]: row["memory_mb"] * 1024 for row in lab.json("xl", "list")}
    assert shown == listed


def test_xen_detect(lab: Commands) -> None:
    """It looks into /sys/hypervisor before it asks the CPU, which knows nothing of us."""
    assert real(lab, "xen-detect") == "Running in PV context on Xen V4.17.\n"
    assert (
        lab.ok("exec", "one", "--", optional.program("xen-detect"))
        == "Running in PV context on Xen V4.17.\n"
    )


def test_a_guest_may_not_list(lab: Commands) -> None:
    optional.program("xl")
    done = lab.run("exec", "one", "--", "xl", "list")
    assert done.returncode == 1
    assert "getting domain info list: Operation not permitted" in done.stderr
