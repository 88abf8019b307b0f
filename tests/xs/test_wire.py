"""The stream of the store's wire, in whatever pieces it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvsim.abi import xs_wire
from hvsim.xs import requests
from hvsim.xs.errors import StoreError
from hvsim.xs.wire import Conversation, Inbox, TooLong, pack

EVENT = xs_wire.XS_WATCH_EVENT
messages = st.lists(
    st.tuples(
        st.integers(0, 20), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary()
    ),
    max_size=6,
)


@given(messages, st.lists(st.integers(1, 40), min_size=1))
def test_messages_come_out_as_they_went_in(
    sent: list[tuple[int, int, int, bytes]], cuts: list[int]
) -> None:
    """Red when ``Inbox.add`` forgets to drop what was taken."""
    stream = b"".join(pack(*message) for message in sent)
    inbox, got, position, number = Inbox(), [], 0, 0
    while position < len(stream):
        size = cuts[number % len(cuts)]
        number += 1
        inbox.add(stream[position : position + size])
        position += size
        if number % 2 and inbox.whole:  # take one, leave others for later
            message = inbox.take()
            assert message is not None
            got.append(message)
    while (message := inbox.take()) is not None:
        got.append(message)
    assert got == sent
    assert inbox.rest == b""
    assert not inbox.whole


def test_what_was_not_taken_is_the_rest() -> None:
    inbox = Inbox()
    inbox.add(pack(1, 2, 3, b"x") + pack(1, 3, 3, b"yy")[:-1])
    assert inbox.take() == (1, 2, 3, b"x")
    assert inbox.take() is None
    assert inbox.rest == pack(1, 3, 3, b"yy")[:-1]
    inbox.clear()
    assert inbox.rest == b""


def test_a_header_that_claims_too_much_ends_the_stream() -> None:
    inbox = Inbox()
    inbox.add(pack(1, 2, 3, bytes(xs_wire.XENSTORE_PAYLOAD_MAX + 1))[:16])
    assert inbox.whole
    with pytest.raises(TooLong, match="4097 bytes"):
        inbox.take()


def test_answers_find_their_requests() -> None:
    """Two exchanges at a time, as of an asynchronous client; events stand between answers."""
    said = Conversation()
    done: list[str] = []
    first = said.ask([requests.read("/a"), requests.read("/b")], lambda: done.append("first"))
    second = said.ask([requests.rm("/a")], lambda: done.append("second"))
    asked = Inbox()
    asked.add(bytes(said.out))
    ids = [message[1] for message in iter(asked.take, None)]
    assert len(set(ids)) == 3
    event = pack(EVENT, 0, 0, b"/a\0t\0")
    assert said.hear(pack(2, ids[0], 0, b"1") + event) == [b"/a\0t\0"]
    assert (first.done, first.next.path, done) == (False, "/b", [])
    assert said.hear(pack(2, ids[1], 0, b"2") + pack(13, ids[2], 0, b"OK\0")) == []
    assert first.replies == [(2, b"1"), (2, b"2")]
    assert second.done
    assert done == ["first", "second"]


def test_an_answer_that_was_given_up_is_nobody_elses() -> None:
    """Nor does one that never comes hold up the next.  Red when ``give_up`` leaves the row as it
    is."""
    said = Conversation()
    said.ask([requests.read("/none")])
    said.give_up()
    said.ask([requests.read("/a")])
    said.give_up()
    later = said.ask([requests.read("/b")])
    said.hear(pack(2, 2, 0, b"of a"))
    assert not later.done
    said.hear(pack(2, 3, 0, b"of b"))
    assert later.replies == [(2, b"of b")]


def test_what_is_too_long_is_not_sent_and_neither_is_its_company() -> None:
    said = Conversation()
    long = requests.write("/a", bytes(xs_wire.XENSTORE_PAYLOAD_MAX))
    with pytest.raises(StoreError, match="WRITE /a: E2BIG"):
        said.ask([requests.read("/b"), long])
    assert said.out == b""
