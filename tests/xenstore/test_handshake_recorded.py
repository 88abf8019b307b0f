"""Every recording of a real host passes the handshake rules, but for what is odd in itself."""

from __future__ import annotations

import pytest

from tests.fidelity.recording import DATA
from tests.xenstore.recorded import Replay, play_states, play_trace

STATES = sorted(file.name.removesuffix(".states.txt") for file in DATA.glob("*.states.txt"))
TRACES = sorted(
    file.name.removesuffix(".trace-readable.txt.gz")
    for file in DATA.glob("*.trace-readable.txt.gz")
)

ODD = {
    "77-paused-create-and-bad-ring-ref": [
        # A shell in dom0 plays the frontend of a paused guest, to feed invalid rings to backends.
        ("17/vbd/51712", "frontend", "SCRIPT", "wrong-side"),
        ("17/vif/0", "frontend", "SCRIPT", "wrong-side"),
        # "B=5 then B=4 (!)": netback goes on to Connected after it could not map the ring.
        ("17/vif/0", "backend", "KERN0", "illegal-step"),
    ],
}
"""What the index of the recordings calls odd; nothing else may be flagged."""


def test_the_recordings_are_there() -> None:
    assert len(STATES) == 35
    assert len(TRACES) >= 18
    assert sum(play_states(name).steps for name in STATES) > 150


@pytest.mark.parametrize("name", STATES)
def test_states(name: str) -> None:
    assert list(play_states(name).breaches) == ODD.get(name, [])


@pytest.mark.parametrize("name", TRACES)
def test_whole_traces_with_reads_and_transactions(name: str) -> None:
    assert list(play_trace(name).breaches) == ODD.get(name, [])


def test_a_recording_that_lost_one_line_is_flagged() -> None:
    """The replay can go red: 66-restore without its ring-ref and event-channel."""
    replay = Replay()
    tools, guest, kernel = (
        replay.resolve("XL", "/")[0],
        replay.resolve("domU9", "/")[0],
        replay.resolve("KERN0", "/")[0],
    )
    front, back = "/local/domain/9/device/vbd/51712", "/local/domain/0/backend/vbd/9/51712"
    replay.write(tools, {f"{front}/state": "1", f"{back}/state": "1"})
    replay.write(kernel, {f"{back}/state": "2"})
    replay.write(guest, {f"{front}/state": "3"})
    replay.write(kernel, {f"{back}/state": "4"})
    replay.write(guest, {f"{front}/state": "4"})
    assert [rule for _, _, _, rule in replay.breaches] == ["not-published", "not-published"]
