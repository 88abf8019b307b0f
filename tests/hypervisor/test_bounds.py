"""No call costs more than a millisecond of the hypervisor, whatever its arguments.

Every call of the dispatch table is asked with the worst arguments, on a machine that is as full as
its limits allow.  Here the work is counted, which gives the same number each time; what it costs
in time is measured by ``make soak`` (``tests/soak/test_bounds.py``).  A long call may take many
pieces, between which others are served: each of them has to stay below the bound.
"""

import gc
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from hvsim.abi import domctl
from hvsim.abi import hypercall as abi
from hvsim.abi.errno import EINVAL
from hvsim.hypervisor import dispatch
from hvsim.hypervisor.dispatch import MAX_PARTS, MAX_PARTS_DOM0, SIMPLE, weight
from tests.hypervisor.crowd import Count, Crowd
from tests.hypervisor.worst import BOMBS, CHEAP, bomb, every_call, every_end

LIMIT = 8000
"""What a piece may cost, as :class:`Count` counts: about half a millisecond of a core of 2024."""


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    with Crowd.full(Count()) as crowd:
        yield crowd


def test_no_piece_of_any_call_is_long(crowd: Crowd) -> None:
    """Seen red with pieces of a hundred thousand things or pages (``work.SMALL``, ``work.PAGES``):
    unmap_grant_ref, free_extent and destroydomain, at 15 000 to 66 000."""
    late = {name: max(costs) for name, costs in every_call(crowd).items() if max(costs) > LIMIT}
    assert late == {}


def test_nor_of_what_happens_without_a_call(crowd: Crowd) -> None:
    """Seen red as above, and with a look through the grant table for each extent."""
    assert max(every_end(crowd)) <= LIMIT


@pytest.mark.parametrize("name", BOMBS)
def test_a_message_that_is_made_to_cost_is_not_unpacked(
    crowd: Crowd, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 KiB of it.  Seen red without ``dispatch.weight``."""
    message = bomb(BOMBS[name])
    if name in CHEAP:
        assert weight(message) <= MAX_PARTS
        return

    unpacked: list[Any] = []
    monkeypatch.setattr(dispatch, "unpack", lambda *it, **_: unpacked.append(it))
    for process, most in ((crowd.small[0], MAX_PARTS), (crowd.root, MAX_PARTS_DOM0)):
        assert weight(message) > most
        answer = crowd.dispatcher.serve(process, message)
        assert answer is not None
        assert msgpack.unpackb(answer[0]) == [-EINVAL]
    assert not unpacked
    assert len(bomb(BOMBS[name], SIMPLE - 5)) <= SIMPLE


def test_an_honest_message_has_not_too_many_parts() -> None:
    """The largest batches that a domain sends, and the longest lines of text."""
    call = abi.HYPERVISOR_grant_table_op
    in_use = [call, abi.HVSIM_GNTTAB_in_use, list(range(0x8080, 0x8080 + 1024))]
    copies = [[0x7FF0, True, ref, 0, 3, False, 0x1234 + ref, 0, 4096] for ref in range(256)]
    texts = ["Ж" * 4000, "語" * 2700, "é" * 4000]
    messages = [in_use, [call, 5, copies], *([abi.HYPERVISOR_console_io, 0, t] for t in texts)]
    assert max(weight(msgpack.packb(message)) for message in messages) <= MAX_PARTS


def test_a_full_machine_leaves_nothing_to_a_collector(crowd: Crowd) -> None:
    """The hypervisor runs without the cyclic collector, whose rounds cost milliseconds.

    Seen red while a dead domain and its past processes named each other."""
    machine = crowd.machine
    for _ in range(2):  # the first time fills caches
        gc.collect()
        for _ in range(5):
            giant, peer = crowd.domain(64), crowd.domain(64)
            crowd.grant(giant, 8, peer, crowd.extent(giant, 2).base_gfn)
            crowd.map(peer, giant, 8)
            crowd.port(giant, peer.domid)
            machine.pauses.pause(giant.domain, crowd.root)
            machine.births.unpause(giant.domain)
            for process in (peer, giant):
                crowd.ask(process, 12, 99)
                machine.ends.process_gone(process.token, 9)
                crowd.ask(crowd.root, 36, domctl.XEN_DOMCTL_destroydomain, process.domid)
        crowd.host.advance(10_000_000_000)
        for _ in crowd.rest():
            pass
        domids = [giant.domid, peer.domid]
        del giant, peer, process
        garbage = gc.collect()
    assert not set(domids) & set(machine.domains)
    assert garbage == 0
