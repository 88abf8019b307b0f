"""Xen's own xenconsoled serves the consoles of a lab: output, input, log file, resize, death.

Red when the node library's event channel does not deliver (nothing is ever typed or shown), or
when grant 0 of a guest maps another page than its console.
"""

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.labs import commands
from tests.support.real_labs import TIMEOUT, RealLab, need
from tests.support.waits import wait

pytestmark = pytest.mark.interop

ECHO = '''
"""Says a line, then every line that is typed, turned round."""


def main(dom):
    dom.console.on_line(lambda line: dom.log(f"<{line[::-1]}>"))
    dom.log("echo is here")
    dom.ready()
    dom.serve()
'''
LAB = """
[lab]
name = "echo"
console = "xenconsoled"

[[domain]]
name = "one"
memory = 16
program = "echo:main"

[[domain]]
name = "two"
memory = 16
program = "echo:main"
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RealLab]:
    need("xenconsoled")
    (tmp_path / "echo.py").write_text(ECHO)
    (tmp_path / "echo.toml").write_text(LAB)
    with commands() as hvsim:
        hvsim.ok("up", "--quiet", str(tmp_path / "echo.toml"))
        yield RealLab(hvsim, "echo")
        assert "nothing of it is left" in hvsim.ok("down")


class Terminal:
    """The pty of a console, as a client opens it."""

    def __init__(self, lab: RealLab, domid: int) -> None:
        tty = lab.hvsim.ok("xenstore", "read", f"/local/domain/{domid}/console/tty").strip()
        assert tty.startswith("/dev/pts/")
        self.fd = os.open(tty, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        self.seen = b""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self.fd)

    def until(self, text: bytes) -> None:
        """Read until *text* was shown."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"waited {TIMEOUT:g} s for {text!r}, seen: {self.seen!r}"
            if select.select([self.fd], [], [], left)[0]:
                self.seen += os.read(self.fd, 4096)

    def hung_up(self) -> bool:
        """Whether the daemon has let go of it."""
        try:
            return bool(select.select([self.fd], [], [], 0.02)[0]) and os.read(self.fd, 4096) == b""
        except OSError:  # EIO
            return True


def test_a_console_from_birth_to_death(lab: RealLab) -> None:
    """Output and input of two guests do not mix; a size that is set does nothing; a guest's death
    hangs its pty up and leaves its log; the other goes on."""
    with Terminal(lab, 1) as one, Terminal(lab, 2) as two:
        one.until(b"echo is here")
        os.write(one.fd, b"stressed\r")
        one.until(b"<desserts>")
        fcntl.ioctl(one.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
        os.write(one.fd, b"live\r")
        one.until(b"<evil>")
        os.write(two.fd, b"drawer\r")
        two.until(b"<reward>")
        assert b"<reward>" not in one.seen
        lab.hvsim.ok("xl", "destroy", "one")
        wait(one.hung_up, "the end of the dead guest's terminal")
        os.write(two.fd, b"pupils\r")
        two.until(b"<slipup>")
    log = lab.console("one")
    assert "echo is here" in log
    assert "<desserts>" in log
    assert "<reward>" not in log
    assert (lab.run / "console" / "guest-two.log").exists()


def test_xl_console_reads_it(lab: RealLab) -> None:
    """It ends with its guest."""
    client = subprocess.Popen(
        lab.hvsim.argv("xl", "console", "two"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=lab.hvsim.environment,
    )
    try:
        assert client.stdout is not None
        assert client.stdout.readline().strip() == "echo is here"
        lab.hvsim.ok("xl", "destroy", "two")
        client.wait(timeout=TIMEOUT)
    finally:
        client.kill()
        client.communicate(timeout=60)


def test_the_real_client_talks_to_it(lab: RealLab) -> None:
    """Xen's own xenconsole, as ``xl console`` of a real host starts it, in dom0."""
    program = str(need("xenconsole"))
    client = subprocess.Popen(
        lab.hvsim.argv("exec", "Domain-0", "--", program, "--interactive", "1"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=lab.hvsim.environment,
    )
    try:
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stdout.readline().strip() == "echo is here"
        client.stdin.write("tool\r")
        client.stdin.flush()
        assert client.stdout.readline().strip() == "<loot>"
        client.stdin.write("\x1d")  # Ctrl-]
        client.stdin.flush()
        assert client.wait(timeout=TIMEOUT) == 0
    finally:
        client.kill()
        client.communicate(timeout=60)


def test_it_follows_a_store_that_has_died(lab: RealLab) -> None:
    """It cannot find a store again, so the toolstack starts it anew.  Red without followers: the
    second guest of this name waits in vain for its terminal."""
    before = lab.pid("xenconsoled")
    lab.hvsim.ok("fault", "kill", "xenstored")
    wait(lambda: before not in lab.pids("xenconsoled") != [], "a new xenconsoled")
    wait(lambda: lab.hvsim.run("xl", "console", "one").returncode == 0, "the console of one")
    with Terminal(lab, 1) as one:
        os.write(one.fd, b"parts\r")
        one.until(b"<strap>")
    lab.hvsim.ok("xl", "destroy", "two")
