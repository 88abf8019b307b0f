"""A frontend's pages: how long each is granted, and what becomes of one that a peer keeps."""

import pytest

from hvsim.drivers.split.pool import PagePool
from tests.drivers.loopback import Frames, Table


@pytest.mark.parametrize("persistent", [False, True])
def test_a_grant_ends_with_its_request_or_with_the_connection(persistent: bool) -> None:
    table = Table()
    pool = PagePool(Frames(2, 100), table, 1, persistent=persistent)
    pages = pool.take(2)
    refs = [pool.ref(page) for page in pages]
    assert [pool.ref(page) for page in pages] == refs, "it is granted once"
    assert [table.granted[ref] for ref in refs] == [(100 + page, False) for page in pages]
    assert pool.give_back(list(pages))
    assert pool.free == 2
    assert list(table.granted) == (refs if persistent else [])
    assert pool.release() == (refs if persistent else [])


def test_a_page_that_the_peer_keeps_is_never_used_again() -> None:
    table = Table()
    pool = PagePool(Frames(2, 100), table, 1)
    pages = pool.take(2)
    refs = [pool.ref(page) for page in pages]
    table.pins[refs[0]] = 1
    assert not pool.give_back(list(pages))
    assert (pool.quarantined, pool.free) == ([pages[0]], 1)
    assert pool.take(1) == [pages[1]]
