"""`xl console`: what is typed goes to the pty, what the domain says comes out, Ctrl-] leaves."""

import os
import pty
import select
import termios
import threading
import tty
from pathlib import Path

import pytest

from hvsim.errors import HvsimError
from hvsim.observe.console import attach


def joined(typed: bytes, said: bytes) -> tuple[bytes, bytes]:
    """Attach to a pty on which a domain says `said`; what the user sees, what the domain gets."""
    master, slave = pty.openpty()
    tty.setraw(slave)  # as xenconsoled leaves it: no echo
    path = os.ttyname(slave)
    keys_out, keys_in = os.pipe()
    screen_out, screen_in = os.pipe()
    thread = threading.Thread(target=attach, args=(path, keys_out, screen_in))
    try:
        thread.start()
        os.write(master, said)
        seen = b""
        while len(seen) < len(said):
            seen += os.read(screen_out, 100)
        os.write(keys_in, typed)
        expected = typed.split(b"\x1d")[0]
        got = b""
        while len(got) < len(expected):
            assert select.select([master], [], [], 30.0)[0], got
            got += os.read(master, 100)
        os.close(keys_in)
        thread.join(5.0)
        assert not thread.is_alive()
        return seen, got
    finally:
        for fd in (master, slave, keys_out, screen_out, screen_in):
            os.close(fd)


def test_both_directions_and_the_way_out() -> None:
    assert joined(b"uptime\r\x1dignored", b"login: ") == (b"login: ", b"uptime\r")


def test_the_end_of_a_pipe_leaves_too() -> None:
    assert joined(b"abc", b"x") == (b"x", b"abc")


def test_a_console_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(HvsimError, match="is the domain still there"):
        attach(str(tmp_path / "pts"), 0, 1)


def test_the_end_of_the_domain_leaves_too() -> None:
    """xenconsoled closes the pty; on this side that is read as an end of file, again and again."""
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    keys_out, keys_in = os.pipe()
    screen_out, screen_in = os.pipe()
    thread = threading.Thread(target=attach, args=(path, keys_out, screen_in), daemon=True)
    try:
        thread.start()
        os.write(master, b"x")
        assert os.read(screen_out, 1) == b"x"
        os.close(slave)
        os.close(master)
        thread.join(5.0)
        assert not thread.is_alive()
    finally:
        os.close(keys_in)  # ends one that has not noticed
        thread.join(5.0)
        for fd in (keys_out, screen_out, screen_in):
            os.close(fd)


def test_every_line_begins_at_the_margin_of_a_terminal() -> None:
    """A person's terminal is raw meanwhile, which takes a new line down and not back.  Seen red
    without OPOST, and without ONLCR: "one" LF, and "two" below its end."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    screen, terminal = pty.openpty()
    modes = termios.tcgetattr(terminal)
    modes[tty.OFLAG] &= ~termios.ONLCR  # whatever the terminal was set to
    termios.tcsetattr(terminal, termios.TCSANOW, modes)
    before = termios.tcgetattr(terminal)
    path = os.ttyname(slave)
    thread = threading.Thread(target=attach, args=(path, terminal, terminal), daemon=True)
    try:
        thread.start()
        os.write(master, b"one\ntwo\r\n$ ")
        expected = b"one\r\ntwo\r\r\n$ "
        seen = b""
        while not seen.endswith(b"$ "):
            assert select.select([screen], [], [], 30.0)[0], seen
            seen += os.read(screen, 100)
        assert seen == expected
        os.write(screen, b"\x03\r")  # keys, not signals
        got = b""
        while len(got) < 2:
            assert select.select([master], [], [], 30.0)[0], got
            got += os.read(master, 100)
        assert got == b"\x03\r"
    finally:
        os.write(screen, b"\x1d")
        thread.join(5.0)
        after = termios.tcgetattr(terminal)
        for fd in (master, slave, screen, terminal):
            os.close(fd)
    assert not thread.is_alive()
    assert after == before
