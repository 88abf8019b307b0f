"""The layout rules themselves, and the small arithmetic that lives beside the constants."""

import ctypes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvsim.abi import blkif, errno, grant_table, ring, vcpu, xs_wire
from hvsim.abi.layout import ByteLayout, Layout

CTYPES: dict[str, Any] = {
    "b": ctypes.c_int8, "B": ctypes.c_uint8, "h": ctypes.c_int16, "H": ctypes.c_uint16,
    "i": ctypes.c_int32, "I": ctypes.c_uint32, "q": ctypes.c_int64, "Q": ctypes.c_uint64,
}  # fmt: skip
MEMBERS = st.lists(
    st.tuples(st.sampled_from(sorted(CTYPES)), st.integers(1, 9)), min_size=1, max_size=12
)
U32 = st.integers(0, 2**32 - 1)


@given(MEMBERS)
def test_layouts_agree_with_the_c_compiler_of_this_machine(members: list[tuple[str, int]]) -> None:
    fields: list[tuple[str, Any]] = [(f"f{i}", CTYPES[c] * n) for i, (c, n) in enumerate(members)]
    c_type: Any = type("S", (ctypes.LittleEndianStructure,), {"_fields_": fields})
    layout = Layout("S", [(f"f{i}", f"{n}{code}") for i, (code, n) in enumerate(members)])
    assert layout.size == ctypes.sizeof(c_type)
    assert dict(layout.offsets) == {name: getattr(c_type, name).offset for name, _ in fields}


@pytest.mark.parametrize("fields", [[("a", "x")], [("a", "B"), ("a", "B")]])
def test_a_bad_layout_is_refused(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match=r"bad code|used twice"):
        Layout("S", fields)


def test_bytes_are_told_apart_from_numbers() -> None:
    """What comes out of a ``Layout`` is a number, which its readers count upon.  Red without the
    look at the form: the bytes pass for a number."""
    fields = [("flags", "B"), ("addr", "6s")]
    with pytest.raises(ValueError, match="bytes in a layout of numbers"):
        Layout("S", fields)
    layout = ByteLayout("S", fields)
    assert layout.unpack(layout.pack(1, b"123456")) == (1, b"123456")


@given(U32, st.integers(0, 64), U32)
def test_notification_rule_is_that_of_the_header(old: int, pushed: int, event: int) -> None:
    new = ring.index_add(old, pushed)
    # ring.h: (RING_IDX)(new - event) < (RING_IDX)(new - old): event lies in (old, new].
    passed = any(ring.index_add(old, step) == event for step in range(1, pushed + 1))
    assert ring.should_notify(old, new, event) is passed


@given(U32, U32)
def test_index_distance_undoes_index_add(index: int, count: int) -> None:
    assert ring.index_distance(ring.index_add(index, count), index) == count


def test_ring_size_is_zero_when_no_slot_fits() -> None:
    assert ring.ring_size(ring.SRING_RING + 111, 112) == 0
    assert ring.ring_size(16, 112) == 0
    assert ring.ring_size(ring.SRING_RING + 112, 112) == 1


def test_slots_wrap_at_the_ring_size() -> None:
    assert ring.slot_offset(32, 32, 112) == ring.slot_offset(0, 32, 112) == 64
    assert ring.slot_offset(0xFFFFFFFF, 32, 112) == 64 + 31 * 112


SEGMENTS = st.lists(
    st.builds(blkif.Segment, U32, st.integers(0, 255), st.integers(0, 255)), max_size=11
)
U64 = st.integers(0, 2**64 - 1)


@given(st.sampled_from([0, 1, 2, 3]), st.integers(0, 65535), U64, U64, SEGMENTS)
def test_a_request_comes_back_as_it_went(
    operation: int, handle: int, id_: int, sector: int, segments: list[blkif.Segment]
) -> None:
    slot = b"\xa5" * 112 + blkif.pack_request(operation, handle, id_, sector, segments)
    request = blkif.unpack_request(slot, 112)
    assert request == blkif.Request(operation, len(segments), handle, id_, sector, tuple(segments))


@given(st.binary(min_size=112, max_size=112))
def test_any_bytes_unpack_without_a_traceback(slot: bytes) -> None:
    request = blkif.unpack_request(slot)
    assert request.operation == slot[0]
    if isinstance(request, blkif.Request):
        assert request.nr_segments == slot[1]
        assert len(request.segments) == min(slot[1], 11)


def test_discard_and_indirect_come_back_as_they_went() -> None:
    discard = blkif.pack_request_discard(51712, 7, 8, 9, blkif.BLKIF_DISCARD_SECURE)
    assert blkif.unpack_request(discard) == blkif.RequestDiscard(5, 1, 51712, 7, 8, 9)
    indirect = blkif.pack_request_indirect(blkif.BLKIF_OP_WRITE, 51712, 7, 8, 600, [3, 4])
    assert blkif.unpack_request(indirect) == blkif.RequestIndirect(
        6, 1, 600, 7, 8, 51712, (3, 4, 0, 0, 0, 0, 0, 0)
    )
    assert blkif.unpack_response(blkif.pack_response(7, 1, -2)) == blkif.Response(7, 1, -2)


def test_what_does_not_fit_a_request_is_refused() -> None:
    with pytest.raises(ValueError, match="12 segments"):
        blkif.pack_request(0, 0, 0, 0, [blkif.Segment(1, 0, 7)] * 12)
    with pytest.raises(ValueError, match="9 indirect pages"):
        blkif.pack_request_indirect(0, 0, 0, 0, 1, [1] * 9)


def test_names_and_texts() -> None:
    assert errno.name(-errno.EINVAL) == "EINVAL"
    assert errno.name(11) == "EAGAIN"
    assert errno.name(4711) == "4711"
    assert grant_table.status_text(grant_table.GNTST_permission_denied) == "permission denied"
    assert grant_table.status_text(-99) == "unknown status -99"
    assert xs_wire.TYPE_NAMES[xs_wire.XS_DIRECTORY_PART] == "DIRECTORY_PART"
    assert xs_wire.TYPE_NAMES[0] == "CONTROL"
    assert xs_wire.unpack_header(xs_wire.pack_header(2, 3, 4, 5)) == (2, 3, 4, 5)
    assert vcpu.unpack_runstate(vcpu.pack_runstate(2, 9, [1, 2, 3, 4])) == (2, 9, (1, 2, 3, 4))
