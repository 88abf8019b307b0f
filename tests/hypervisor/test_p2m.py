"""The physical-to-machine map against a dictionary."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvsim.hypervisor.p2m import P2M

STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 40), st.lists(st.integers(1, 9), max_size=3))
)


@settings(max_examples=1000)
@given(STEPS)
def test_it_is_a_map(steps: list[tuple[bool, int, list[int]]]) -> None:
    """Seen red with a decrease that forgets what is left behind the hole."""
    p2m, model, fresh = P2M(), dict[int, int](), 1000
    for populate, gfn, lengths in steps:
        frames = range(gfn, gfn + sum(lengths))
        if populate:
            runs = []
            for length in lengths:
                runs.append((fresh, length))
                fresh += length + 1
            if any(frame in model for frame in frames):
                with pytest.raises(ValueError, match="no hole"):
                    p2m.populate(gfn, runs)
                continue
            p2m.populate(gfn, runs)
            mfns = [mfn + n for mfn, length in runs for n in range(length)]
            model |= zip(frames, mfns, strict=True)
        elif any(frame not in model for frame in frames):
            with pytest.raises(ValueError, match="is a hole"):
                p2m.decrease(gfn, len(frames))
        else:
            freed = p2m.decrease(gfn, len(frames))
            mfns = [mfn + n for mfn, length in freed for n in range(length)]
            assert mfns == [model.pop(frame) for frame in frames]
        assert [p2m.frame(frame) for frame in range(80)] == [model.get(n) for n in range(80)]
        assert (p2m.total, p2m.end) == (len(model), max(model, default=-1) + 1)


def test_consecutive_frames_are_told() -> None:
    p2m = P2M()
    p2m.populate(0, [(100, 4), (200, 2)])
    assert [p2m.consecutive(gfn) for gfn in range(7)] == [4, 3, 2, 1, 2, 1, 0]
    p2m.decrease(1, 1)
    assert [p2m.consecutive(gfn) for gfn in range(4)] == [1, 0, 2, 1]
