"""What /dev/xen/xenbus makes of bytes: the rules of Linux' driver, without a store."""

from __future__ import annotations

import errno

import pytest

from hvsim.abi import xs_wire
from hvsim.abi.xs_wire import Header, pack_header, unpack_header
from hvsim.devnodes.dialogue import BUFFER, HEADER, MAX_WATCHES, Dialogue, Refused

READ, WATCH, UNWATCH = xs_wire.XS_READ, xs_wire.XS_WATCH, xs_wire.XS_UNWATCH
START, END = xs_wire.XS_TRANSACTION_START, xs_wire.XS_TRANSACTION_END
ERROR, EVENT = xs_wire.XS_ERROR, xs_wire.XS_WATCH_EVENT

Message = tuple[Header, bytes]


def message(kind: int, body: bytes, tx: int = 0, request: int = 7) -> bytes:
    return pack_header(kind, request, tx, len(body)) + body


def take(data: bytearray) -> list[Message]:
    """The messages in a buffer, which is empty then."""
    found = []
    while data:
        header = unpack_header(data)
        found.append((header, bytes(data[HEADER : HEADER + header.len])))
        del data[: HEADER + header.len]
    return found


def asked(dialogue: Dialogue) -> Message:
    """The one request that went to the store."""
    (found,) = take(dialogue.to_store)
    return found


def told(dialogue: Dialogue) -> list[tuple[int, int, bytes]]:
    """What the program was told: types, request numbers and payloads."""
    return [(header.type, header.req_id, body) for header, body in take(dialogue.to_reader)]


def answer(dialogue: Dialogue, request: Message, body: bytes, kind: int | None = None) -> None:
    header = request[0]
    dialogue.heard(message(header.type if kind is None else kind, body, 0, header.req_id))


def begin(dialogue: Dialogue, tx: int) -> None:
    dialogue.write(message(START, b"\0"))
    answer(dialogue, asked(dialogue), b"%d\0" % tx)
    take(dialogue.to_reader)


def watch(dialogue: Dialogue, path: bytes = b"a", token: bytes = b"t") -> bytes:
    """Set a watch; the token that the store knows it by."""
    dialogue.write(message(WATCH, path + b"\0" + token + b"\0"))
    request = asked(dialogue)
    answer(dialogue, request, b"OK\0")
    dialogue.outcome()
    assert told(dialogue) == [(WATCH, 7, b"OK\0")]
    return request[1].split(b"\0")[1]


def test_a_request_comes_in_any_pieces() -> None:
    """Red when a piece that ends within the header is taken for a request."""
    dialogue = Dialogue()
    for byte in message(READ, b"name\0"):
        assert not dialogue.to_store
        dialogue.write(bytes([byte]))
    header, body = asked(dialogue)
    assert (header.type, header.tx_id, body) == (READ, 0, b"name\0")
    answer(dialogue, (header, body), b"g")
    assert told(dialogue) == [(READ, 7, b"g")]


def test_what_follows_a_whole_request_in_one_write_is_dropped() -> None:
    dialogue = Dialogue()
    dialogue.write(message(READ, b"a\0") + message(READ, b"b\0"))
    assert asked(dialogue)[1] == b"a\0"
    dialogue.write(message(READ, b"c\0"))
    assert asked(dialogue)[1] == b"c\0"


@pytest.mark.parametrize(
    ("pieces", "number"),
    [
        ([pack_header(READ, 1, 0, BUFFER - HEADER + 1)], errno.E2BIG),
        ([bytes(BUFFER + 1)], errno.EINVAL),
        ([pack_header(READ, 1, 0, 100), bytes(BUFFER)], errno.EINVAL),
    ],
    ids=["the header promises it", "in one write", "with what was there"],
)
def test_too_much_is_refused_and_forgotten(pieces: list[bytes], number: int) -> None:
    """Red when the buffer is not emptied: the next request is taken for the rest of this one."""
    dialogue = Dialogue()
    for piece in pieces[:-1]:
        dialogue.write(piece)
    with pytest.raises(OSError, match=rf"Errno {number}\b"):
        dialogue.write(pieces[-1])
    dialogue.write(message(READ, b"name\0"))
    assert asked(dialogue)[1] == b"name\0"


def test_the_longest_request_fills_the_buffer() -> None:
    dialogue = Dialogue()
    dialogue.write(message(READ, bytes(BUFFER - HEADER)))
    assert asked(dialogue)[0].len == BUFFER - HEADER


def test_answers_find_their_requests_in_any_order() -> None:
    dialogue = Dialogue()
    dialogue.write(message(READ, b"a\0", request=1))
    first = asked(dialogue)
    dialogue.write(message(READ, b"b\0", request=1))
    second = asked(dialogue)
    assert first[0].req_id != second[0].req_id
    answer(dialogue, second, b"2")
    answer(dialogue, first, b"ENOENT\0", ERROR)
    assert told(dialogue) == [(READ, 1, b"2"), (ERROR, 1, b"ENOENT\0")]


def test_a_watch_may_be_set_twice_and_fires_twice() -> None:
    """Red when the program's own token goes to the store, which then says EEXIST."""
    dialogue = Dialogue()
    tokens = [watch(dialogue), watch(dialogue)]
    assert tokens[0] != tokens[1]
    for token in tokens:
        dialogue.heard(message(EVENT, b"a/b\0" + token + b"\0", request=0))
    assert told(dialogue) == 2 * [(EVENT, 0, b"a/b\0t\0")]


def test_the_end_of_a_watch_silences_it_at_once() -> None:
    dialogue = Dialogue()
    token = watch(dialogue)
    dialogue.write(message(UNWATCH, b"a\0t\0"))
    request = asked(dialogue)
    assert request[1] == b"a\0" + token + b"\0"
    dialogue.heard(message(EVENT, b"a\0" + token + b"\0"))
    answer(dialogue, request, b"OK\0")
    assert told(dialogue) == [(UNWATCH, 7, b"OK\0")]


def test_the_end_of_an_unknown_watch_is_in_order() -> None:
    dialogue = Dialogue()
    dialogue.write(message(UNWATCH, b"a\0t\0"))
    assert not dialogue.to_store
    assert told(dialogue) == [(UNWATCH, 7, b"OK\0")]


def test_a_watch_that_the_store_refuses_is_the_errno_of_the_write() -> None:
    dialogue = Dialogue()
    dialogue.write(message(WATCH, b"a//b\0t\0"))
    waiting = [dialogue.waiting]
    answer(dialogue, asked(dialogue), b"E2BIG\0", ERROR)
    assert [*waiting, dialogue.waiting] == [True, False]
    with pytest.raises(Refused) as refusal:
        dialogue.outcome()
    assert refusal.value.errno == errno.E2BIG
    assert told(dialogue) == []
    dialogue.lost()
    dialogue.again()
    assert not dialogue.to_store, "it is not set anew"


@pytest.mark.parametrize("body", [b"a", b"a\0t", b""])
def test_a_watch_without_path_or_token(body: bytes) -> None:
    dialogue = Dialogue()
    dialogue.write(message(WATCH, body))
    assert (told(dialogue), dialogue.waiting) == ([(ERROR, 7, b"EINVAL\0")], False)


def test_watches_are_bounded() -> None:
    dialogue = Dialogue()
    for number in range(MAX_WATCHES):
        watch(dialogue, token=b"%d" % number)
    with pytest.raises(OSError, match="the limit"):
        dialogue.write(message(WATCH, b"a\0t\0"))


def test_transactions_belong_to_their_file() -> None:
    """Red when the store is asked: any file's transaction is one of the connection there."""
    dialogue, other = Dialogue(), Dialogue()
    begin(dialogue, 5)
    dialogue.write(message(READ, b"a\0", tx=5))
    assert asked(dialogue)[0].tx_id == 5
    other.write(message(READ, b"a\0", tx=5))
    other.write(message(END, b"T\0", tx=5))
    assert not other.to_store
    assert told(other) == 2 * [(ERROR, 7, b"ENOENT\0")]
    dialogue.write(message(END, b"X\0", tx=5))
    assert told(dialogue) == [(ERROR, 7, b"EINVAL\0")]
    dialogue.write(message(END, b"T\0", tx=5))
    answer(dialogue, asked(dialogue), b"OK\0")
    dialogue.write(message(READ, b"a\0", tx=5))
    assert told(dialogue) == [(END, 7, b"OK\0"), (ERROR, 7, b"ENOENT\0")]


def test_after_the_stores_death() -> None:
    """What was asked has failed, transactions are to be begun anew, watches are set again."""
    dialogue = Dialogue()
    begin(dialogue, 5)
    begin(dialogue, 6)
    token = watch(dialogue)
    dialogue.write(message(READ, b"a\0"))
    asked(dialogue)
    dialogue.heard(b"half an answer"[:4])
    dialogue.lost()
    assert told(dialogue) == [(ERROR, 7, b"EIO\0")]
    dialogue.write(message(END, b"T\0", tx=5))
    dialogue.write(message(END, b"F\0", tx=6))
    assert told(dialogue) == [(ERROR, 7, b"EAGAIN\0"), (END, 7, b"OK\0")]
    dialogue.again()
    request = asked(dialogue)
    assert request[1] == b"a\0" + token + b"\0"
    answer(dialogue, request, b"OK\0")
    assert told(dialogue) == []
    dialogue.heard(message(EVENT, b"a\0" + token + b"\0"))
    assert told(dialogue) == [(EVENT, 0, b"a\0t\0")]


def test_a_watch_that_waits_for_a_dead_store_fails() -> None:
    dialogue = Dialogue()
    dialogue.write(message(WATCH, b"a\0t\0"))
    dialogue.lost()
    with pytest.raises(Refused) as refusal:
        dialogue.outcome()
    assert (refusal.value.errno, dialogue.waiting) == (errno.EIO, False)
    dialogue.again()
    assert not dialogue.to_store


@pytest.mark.parametrize(
    "nonsense",
    [
        message(READ, b"", request=99),
        pack_header(READ, 1, 0, 5000),
        message(EVENT, b"a\0token\0"),
    ],
)
def test_a_store_that_talks_nonsense_is_left(nonsense: bytes) -> None:
    with pytest.raises(ValueError, match=r"an? (answer|event|message)"):
        Dialogue().heard(nonsense)
