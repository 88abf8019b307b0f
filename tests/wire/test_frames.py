"""Messages in a stream: however it is cut, the same messages come out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvsim.wire.frames import Frames, TooLargeError, framed


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 300), max_size=8))
def test_however_the_stream_is_cut(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(framed, messages))
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    frames, found = Frames(40), []
    for start, end in pairwise(places):
        frames.feed(stream[start:end])
        while frames.ready:
            found.append(frames.take())
        assert frames.take() is None
    assert found == messages


def test_one_that_is_too_large_is_known_by_its_length_alone() -> None:
    """Red without the limit: four bytes make us wait for four gigabytes."""
    frames = Frames(10)
    frames.feed(framed(b"x" * 10) + b"\xff\xff\xff\xff")
    assert frames.take() == b"x" * 10
    assert frames.ready
    with pytest.raises(TooLargeError) as caught:
        frames.take()
    assert caught.value.size == (1 << 32) - 1
