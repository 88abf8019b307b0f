"""Requests as values: what goes over the wire, and what an answer means."""

from __future__ import annotations

import pytest

from hvsim.abi import xs_wire
from hvsim.abi.errno import EAGAIN, EINVAL, EIO, ENOENT
from hvsim.xs import requests
from hvsim.xs.errors import StoreError, StoreNotFound


def test_arguments_end_with_a_nul_and_a_value_does_not() -> None:
    assert requests.write("/a", "b").payload == b"/a\0b"
    assert requests.write("/a", b"\0\xff").payload == b"/a\0\0\xff"
    assert requests.set_perms("/a", ["n0", "r1"]).payload == b"/a\0n0\0r1\0"
    assert requests.introduce(3, 100, 7).payload == b"3\x00100\x007\0"
    assert requests.transaction_end(5, True).payload == b"T\0"
    assert requests.transaction_end(5, False).payload == b"F\0"


def test_an_argument_is_one() -> None:
    """Seen red without the look for a NUL: "b" would be a right of its own."""
    for make in (requests.read, requests.rm, lambda path: requests.watch("/a", path)):
        with pytest.raises(StoreError) as refused:
            make("a\0b")
        assert refused.value.errno == EINVAL


@pytest.mark.parametrize(
    ("payload", "part"),
    [
        (b"12\0a\0b\0", ("12", b"a\0b\0", False)),
        (b"12\0a\0b\0\0", ("12", b"a\0b\0", True)),
        (b"12\0\0", ("12", b"", True)),
        (b"12\0", ("12", b"", False)),
    ],
)
def test_the_last_part_of_a_list_ends_with_a_nul_more(payload: bytes, part: requests.Part) -> None:
    answer = requests.directory_part("/a", 0).result(xs_wire.XS_DIRECTORY_PART, payload)
    assert answer == part


def test_what_the_store_answers() -> None:
    read = requests.read("/a")
    assert read.result(xs_wire.XS_READ, b"\xff") == "\udcff"
    assert requests.encode("\udcff") == b"\xff"
    with pytest.raises(StoreNotFound):
        read.result(xs_wire.XS_ERROR, b"ENOENT\0")
    for kind, text, number in (
        (xs_wire.XS_WRITE, b"ENOENT\0", EIO),
        (xs_wire.XS_ERROR, b"EBOGUS\0", EINVAL),
    ):
        with pytest.raises(StoreError) as refused:
            read.result(kind, text)
        assert refused.value.errno == number


def test_of_many_values_those_that_are_not_there_are_none() -> None:
    missing = requests.store_error(ENOENT, "READ", "/a")
    assert requests.values(["1", missing, ""]) == ["1", None, ""]
    with pytest.raises(StoreError) as refused:
        requests.values(["1", missing, requests.store_error(EAGAIN, "READ", "/a")])
    assert refused.value.errno == EAGAIN
