"""The domains that must not notice: a pair that exchanges data, and the rogue's own victim.

They speak to the test through their log: one JSON object a line.
"""

import ctypes
import json
import struct
import zlib
from functools import partial
from typing import Any, Final

from hvsim.domain import Domain
from hvsim.domain.mapper import GrantError

SECRET: Final = b"what was not granted to anybody"
RO_PATTERN: Final = b"read-only for the rogue." * 170
PEER_TIMEOUT: Final = 30.0
_MESSAGE: Final = struct.Struct("<IIQ")  # kind (1 ping, 2 pong), crc of the payload, sequence
_PAYLOAD: Final = 1024


def say(**words: Any) -> None:
    """One line for the test."""
    print(json.dumps(words), flush=True)


def _payload(sequence: int) -> bytes:
    return struct.pack("<Q", sequence * 2654435761 % 2**64) * (_PAYLOAD // 8)


def _put(page: memoryview, kind: int, sequence: int) -> None:
    data = _payload(sequence)
    page[64 : 64 + _PAYLOAD] = data
    page[: _MESSAGE.size] = _MESSAGE.pack(kind, zlib.crc32(data), sequence)


def _check(page: memoryview, kind: int, sequence: int) -> bool:
    """Whether the expected message has arrived; a damaged one ends the domain."""
    found, crc, number = _MESSAGE.unpack(page[: _MESSAGE.size])
    if found != kind:
        return False
    data = bytes(page[64 : 64 + _PAYLOAD])
    if (number, crc, data) != (sequence, zlib.crc32(data), _payload(sequence)):
        raise RuntimeError(f"damaged message: {number} instead of {sequence}")
    return True


def pinger(dom: Domain) -> None:
    """Grants a page to its peer and counts the round trips over it."""
    peer = dom.args["peer"]
    extent = dom.memory.allocate(1)
    ref = dom.grants.grant(peer, extent.gfn(0))
    port = dom.events.alloc_unbound(peer)
    say(ready=True, ref=ref, port=port)
    page, sequence = extent.page(0), 0
    while True:
        sequence += 1
        _put(page, 1, sequence)
        dom.events.notify(port)
        dom.wait(partial(_check, page, 2, sequence), PEER_TIMEOUT, "the ponger's answer")
        if sequence % 50 == 0:
            say(exchanged=sequence)


def ponger(dom: Domain) -> None:
    """Maps the pinger's page and answers every message."""
    peer, ref, port = (dom.args[key] for key in ("peer", "ref", "port"))
    page = dom.mapper.map(peer, ref).view
    local = dom.events.bind_interdomain(peer, port)
    say(ready=True)
    sequence = 0
    while True:
        sequence += 1
        dom.wait(partial(_check, page, 1, sequence), PEER_TIMEOUT, "the pinger's message")
        _put(page, 2, sequence)
        dom.events.notify(local)


def victim(dom: Domain) -> None:
    """Grants a page to the rogue read-only and another one writable, and keeps a secret.

    At the rogue's word (a number in the writable page) it maps a grant of the rogue, as a
    backend would, and writes the status back.
    """
    rogue = dom.args["rogue"]
    secret = ctypes.create_string_buffer(SECRET)
    hidden = dom.memory.allocate(1)
    hidden.page(0)[: len(SECRET)] = SECRET
    readonly, shared = dom.memory.allocate(1), dom.memory.allocate(1)
    readonly.page(0)[: len(RO_PATTERN)] = RO_PATTERN
    rang = [0]

    def ring() -> None:
        rang[0] += 1

    port = dom.events.alloc_unbound(rogue, ring)
    say(
        ready=True,
        ro_ref=dom.grants.grant(rogue, readonly.gfn(0), readonly=True),
        rw_ref=dom.grants.grant(rogue, shared.gfn(0)),
        other_ref=dom.grants.grant(dom.args["other"], hidden.gfn(0)),
        hidden_gfn=hidden.gfn(0),
        port=port,
        other_port=dom.events.alloc_unbound(dom.args["other"]),
        address=ctypes.addressof(secret),
        pages=dom.start_info.get("nr_pages"),
    )
    page = shared.page(0)
    request = struct.Struct("<II")  # sequence, ref
    answer = struct.Struct("<Ii")  # sequence, status
    done = 0
    for turn in range(1 << 30):
        dom.vcpu.block(0.05)
        dom.vcpu.dispatch()
        sequence, ref = request.unpack(page[: request.size])
        if sequence != done:
            status = 0
            try:
                dom.mapper.map(rogue, ref).unmap()
            except GrantError as error:
                status = error.status
            page[16 : 16 + answer.size] = answer.pack(sequence, status)
            done = sequence
        intact = (
            secret.raw[: len(SECRET)] == SECRET
            and bytes(hidden.page(0)[: len(SECRET)]) == SECRET
            and bytes(readonly.page(0)[: len(RO_PATTERN)]) == RO_PATTERN
        )
        if not intact:
            say(intact=False)
            raise RuntimeError("somebody wrote what was not granted for writing")
        if turn % 10 == 0:
            say(intact=True, rang=rang[0])
