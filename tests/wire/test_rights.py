"""Descriptors over sockets: close-on-exec, counted, and whole or not at all."""

import array
import contextlib
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvsim.wire import rights
from hvsim.wire.packing import MALFORMED, unpack

Pair = tuple[socket.socket, socket.socket]


@contextmanager
def made() -> Iterator[Pair]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        yield left, right


@pytest.fixture
def pair() -> Iterator[Pair]:
    with made() as sockets:
        yield sockets


def opened() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def raw_send(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], ancillary)


def test_what_comes_is_not_inherited(pair: Pair) -> None:
    """Red with ``socket.recv_fds``, whatever flags that is given."""
    rights.send(pair[0], [b"a", b"b"], [0, 1])
    data, fds = rights.receive(pair[1], 10, 2)
    try:
        assert (data, len(fds)) == (b"ab", 2)
        assert [os.get_inheritable(fd) for fd in fds] == [False, False]
    finally:
        rights.close(fds)


@given(sent=st.integers(0, 12), most=st.integers(0, 12), size=st.integers(0, 40))
def test_whole_or_an_error_with_nothing_left_open(sent: int, most: int, size: int) -> None:
    """Red for an odd *most* with CMSG_SPACE in place of CMSG_LEN: one more comes in."""
    with made() as (left, right):
        before = opened()
        raw_send(left, bytes(size), [0] * sent)
        if sent > most or size > 20:
            with pytest.raises(rights.Truncated):
                rights.receive(right, 20, most)
        else:
            data, fds = rights.receive(right, 20, most)
            assert (len(data), len(fds)) == (size, sent)
            rights.close(fds)
        assert opened() == before


def test_no_room_for_them_is_an_error(pair: Pair) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    rights.send(pair[0], [b"x"], [0] * 5)
    before = opened()
    taken = {fd for fd in map(int, before) if os.path.exists(f"/proc/self/fd/{fd}")}
    free = [fd for fd in range(max(taken) + 6) if fd not in taken]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[4], limits[1]))  # room for four
    try:
        with pytest.raises(rights.Truncated, match="more than 9 descriptors, or than may be open"):
            rights.receive(pair[1], 10, 9)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert opened() == before


def test_flags_reach_the_kernel(pair: Pair) -> None:
    """Red with ``send_fds``, which forgets them and waits: the peer reads nothing."""
    with pytest.raises(BlockingIOError):
        rights.receive(pair[1], 10, 1, socket.MSG_DONTWAIT)

    def fill() -> None:
        for _ in range(10000):
            rights.send(pair[0], [bytes(4096)], [0], socket.MSG_DONTWAIT)

    with pytest.raises(BlockingIOError):
        fill()


def test_the_end(pair: Pair) -> None:
    pair[0].close()
    assert rights.receive(pair[1], 10, 1) == (b"", [])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_bad_one(data: bytes) -> None:
    with contextlib.suppress(*MALFORMED):
        unpack(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x91" * 5000,  # deeper than anybody means
        b"\xdd\xff\xff\xff\xff",  # a list of 4 G entries, of which none is there
        b"\x81\x90\x00",  # a key that is a list
        b"\x01\x02",  # something behind it
        b"\xc1",
    ],
)
def test_bad_messages(data: bytes) -> None:
    with pytest.raises(MALFORMED):
        unpack(data)
