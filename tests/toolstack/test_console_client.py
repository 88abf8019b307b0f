"""The client's end of xl console: bytes go both ways until Ctrl-]."""

import os
import threading
import tty

import pytest

from hvsim.toolstack.xl.console_client import attach, raw_mode


def test_bytes_go_both_ways_until_the_escape() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    source, typing = os.pipe()
    shown, target = os.pipe()
    path = os.ttyname(slave)
    codes: list[int] = []
    client = threading.Thread(target=lambda: codes.append(attach(path, source, target)))
    try:
        client.start()
        os.write(master, b"login: ")
        assert os.read(shown, 100) == b"login: "
        os.write(typing, b"root\x1dnot this")
        client.join(30.0)
        assert codes == [0]
        assert os.read(master, 100) == b"root"
    finally:
        for fd in (master, slave, source, typing, shown, target):
            os.close(fd)


def test_a_terminal_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert attach("/dev/pts/none", 0, 1) == 1
    assert "Could not open tty `/dev/pts/none'" in capsys.readouterr().err


def test_the_terminal_is_as_before_afterwards() -> None:
    import termios

    master, slave = os.openpty()
    try:
        before = termios.tcgetattr(slave)
        with raw_mode(slave):
            assert termios.tcgetattr(slave) != before
        assert termios.tcgetattr(slave) == before
    finally:
        os.close(master)
        os.close(slave)
