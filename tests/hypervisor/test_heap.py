"""Machine frames, without a machine: each is lent once, none is lost, what comes back is dirty."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvsim.abi.errno import ENOMEM
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.heap import Heap, Runs


@given(st.data())
def test_runs_are_a_set(data: st.DataObject) -> None:
    runs, model = Runs(), set[int]()
    for _ in range(30):
        first = data.draw(st.integers(0, 40))
        numbers = set(range(first, first + data.draw(st.integers(1, 10))))
        if data.draw(st.booleans()):
            if numbers & model:
                with pytest.raises(ValueError, match="already"):
                    runs.add(first, len(numbers))
            else:
                runs.add(first, len(numbers))
                model |= numbers
        elif numbers <= model:
            runs.remove(first, len(numbers))
            model -= numbers
        else:
            with pytest.raises(ValueError, match="not all"):
                runs.remove(first, len(numbers))
        listed = list(runs)
        assert {n for start, count in listed for n in range(start, start + count)} == model
        assert runs.total == len(model)
        ends = [(a[0] + a[1], b[0]) for a, b in pairwise(listed)]
        assert all(end < start for end, start in ends), "runs are maximal and in order"


@given(st.integers(1, 4), st.data())
def test_heap_conserves_frames(nodes: int, data: st.DataObject) -> None:
    heap = Heap(64, nodes)
    lent: list[list[tuple[int, int]]] = []
    for _ in range(20):
        back = data.draw(st.booleans())
        if lent and back:
            heap.release(lent.pop(data.draw(st.integers(0, len(lent) - 1))))
        else:
            count = data.draw(st.integers(1, 40))
            free = heap.free
            try:
                node = data.draw(st.none() | st.integers(0, nodes - 1))
                lent.append(heap.allocate(count, node))
            except XenError:
                assert count > free
        heap.scrub(data.draw(st.none() | st.integers(0, 20)))
        frames = [f for runs in lent for first, n in runs for f in range(first, first + n)]
        assert len(frames) == len(set(frames)), "a frame is lent once"
        assert len(frames) + heap.free == 64
        assert heap.dirty <= heap.free


def test_heap_refuses_what_was_not_lent() -> None:
    heap = Heap(8)
    with pytest.raises(ValueError, match="free already"):
        heap.release([(0, 1)])
    with pytest.raises(ValueError, match="do not exist"):
        heap.release([(7, 2)])


def test_what_is_promised_is_not_free_for_anybody_else() -> None:
    heap = Heap(8)
    heap.claim(6)
    for take in (heap.claim, heap.allocate):
        with pytest.raises(XenError, match="3 frames are wanted, 2 are free") as refused:
            take(3)
        assert refused.value.errno == ENOMEM
    assert heap.allocate(2) == [(0, 2)]
    heap.unclaim(6)
    assert heap.allocate(6) == [(2, 6)]


def test_what_comes_back_waits_for_the_scrubber() -> None:
    heap = Heap(8, nodes=2)
    heap.release(heap.allocate(6))
    assert (heap.dirty, heap.free) == (6, 8)
    assert heap.scrub(limit=5) == 5
    assert (heap.dirty, heap.free) == (1, 8)
    with pytest.raises(ValueError, match="free already"):
        heap.release([(4, 1)])
    with pytest.raises(ValueError, match="in already"):
        heap.release([(5, 1)])
    assert heap.scrub() == 1
    assert heap.dirty == 0
