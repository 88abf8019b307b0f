"""Captures through the toolstack: sessions, their bounds, and what becomes of them.

The halves have nothing but a tap (tapped.py), so that what they do is the test's own; captures of
real conversations are in tests/drivers and tests/lab.

Red, each tried: without the reaper; without the unmapping before the half is told (pages are left);
with a session that does not follow its backend.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hvsim.lab.answers import ControlError
from hvsim.lab.control import Control
from hvsim.toolstack.devices.captures import IDLE_TIMEOUT
from hvsim.wire.control import Exit, asking
from hvsim.wire.lab_requests import Capture
from tests.support.lab_host import TIMEOUT, LabHost
from tests.toolstack import hasty
from tests.toolstack.tappedlab import Lab


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    with LabHost(tmp_path_factory.mktemp("host")) as made:
        yield made


@pytest.fixture
def lab(host: LabHost) -> Iterator[Lab]:
    """With domains that are the test's own."""
    yield Lab(host)
    host.end_domains()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """For tests that leave it as they found it."""
    with LabHost(tmp_path_factory.mktemp("shared"), toolstack=hasty.PROGRAM) as host:
        yield Lab(host)


@pytest.mark.parametrize("vif", ["guest", "guest/0", "vif2.0", "2/0", "2"])
@pytest.mark.parametrize("side", ["front", "back"])
def test_either_half_is_seen_by_any_of_its_names(shared: Lab, vif: str, side: str) -> None:
    if vif != "guest" and side == "front":
        return  # the names are the same for both: once is enough
    found = shared.capture(action="start", vif=vif, side=side, snaplen=200)
    tapped = shared.guest if side == "front" else shared.back
    assert (found["vif"], found["guest"], found["domid"]) == ("vif2.0", "guest", tapped)
    assert found["mac"] == "00:16:3e:00:00:01"
    shared.frames(tapped, 5, 300)
    frames = shared.read_some(found["session"], 5)
    assert [int.from_bytes(frame.data[:4], "big") for frame in frames] == list(range(5))
    assert [frame.sent for frame in frames] == [True, False, True, False, True]
    assert {(len(frame.data), frame.length) for frame in frames} == {(200, 300)}
    assert shared.capture(action="stop", session=found["session"]) == {"seen": 5, "dropped": 0}
    for path in (shared.front_path, shared.back_path):
        with shared.host.store() as store:
            assert not store.exists(f"{path}/capture")
            assert not store.exists(f"{path}/capture-ring")


def test_a_reader_that_does_not_read_costs_frames_not_memory(shared: Lab) -> None:
    session = shared.start(snaplen=4096)
    shared.frames(shared.back, 1000, 4096)
    some = shared.read_some(session, 200)
    shared.host.wait_node(f"/local/domain/{shared.back}/data/health", "ok")
    rest = shared.read(session)
    counts = shared.capture(action="stop", session=session)
    assert counts["seen"] == 1000
    assert counts["dropped"] == 1000 - len(some) - len(rest) > 0


def test_many_captures_leave_nothing(lab: Lab) -> None:
    for number in range(20):
        session = lab.start(side=("front", "back")[number % 2])
        lab.capture(action="stop", session=session)
    for domid in (lab.guest, lab.back):
        assert lab.host.xl("destroy", str(domid)).exit == 0
    lab.host.wait(
        lambda: len(lab.host.xl("list", json=True).data) == 1, "no zombie: nothing is mapped"
    )


def test_two_cannot_have_the_same_half(shared: Lab) -> None:
    session = shared.start()
    assert "being captured already" in shared.refusal(
        action="start", vif="guest", side="back", snaplen=1
    )
    other = shared.start(side="front")
    for number in (session, other):
        shared.capture(action="stop", session=number)
    shared.capture(action="stop", session=shared.start())


def test_a_session_that_nobody_reads_is_ended(shared: Lab) -> None:
    """The one who started it may have been killed."""
    with Control(shared.host.run_dir / "control") as gone:
        gone.data(Capture("start", vif="guest", side="back", snaplen=100))
    with shared.host.store() as store:
        assert store.exists(f"{shared.back_path}/capture")
        hasty.put_forward(shared.host, IDLE_TIMEOUT)
        shared.host.wait(lambda: not store.exists(f"{shared.back_path}/capture"), "the reaper")
    shared.capture(action="stop", session=shared.start())


def test_a_capture_goes_on_with_the_next_backend(lab: Lab) -> None:
    session = lab.start()
    lab.frames(lab.back, 3)
    assert len(lab.read_some(session, 3)) == 3
    old = lab.back
    lab.frames(old, 2)
    assert lab.host.xl("destroy", str(old)).exit == 0
    lab.back = lab.driver()
    lab.attach()
    domid = old
    deadline = time.monotonic() + TIMEOUT
    while domid != lab.back:
        assert time.monotonic() < deadline
        domid = lab.capture(action="read", session=session)["domid"]
    lab.frames(lab.back, 4)
    assert len(lab.read_some(session, 4)) == 4
    assert lab.capture(action="stop", session=session)["seen"] >= 7
    lab.host.wait(lambda: len(lab.host.xl("list", json=True).data) == 3, "no zombie")


@pytest.mark.parametrize("side", ["front", "back"])
def test_it_ends_with_its_interface(lab: Lab, side: str) -> None:
    session = lab.start(side=side)
    with lab.host.store() as store:
        for path in (f"/libxl/{lab.guest}/device/vif", lab.front_path, lab.back_path):
            store.rm(path)
    deadline = time.monotonic() + TIMEOUT
    while not (ended := lab.capture(action="read", session=session)["ended"]):
        assert time.monotonic() < deadline
    assert ended == f"vif{lab.guest}.0 is gone"
    lab.capture(action="stop", session=session)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"vif": "nobody"}, "nobody is an invalid domain identifier"),
        ({"vif": "guest/7"}, r"domain 2 has no vif 7; `hvsim xl network-list 2` shows"),
        ({"vif": "vif9.0"}, "domain 9 has no vif 0"),
        ({"vif": "guest/x"}, "names no interface: say vif3.0"),
        ({"vif": ""}, "names no interface"),
        ({"side": "left"}, "side must be front or back"),
        ({"snaplen": 0}, "snaplen must be from 1"),
        ({"snaplen": "9"}, "snaplen must be from 1"),
        ({"action": "dance"}, "action must be start, read or stop"),
        ({"action": "read", "session": 77}, "that capture has ended"),
        ({"action": "stop", "session": None}, "that capture has ended"),
    ],
)
def test_what_cannot_be_is_said(shared: Lab, fields: dict[str, Any], text: str) -> None:
    asked = {"action": "start", "vif": "guest", "side": "back", "snaplen": 100, **fields}
    assert re.search(text, shared.refusal(**asked))


def test_a_domain_that_does_not_answer_is_not_waited_for_long(shared: Lab) -> None:
    """A stalled driver: the request says so, and nothing of it stays."""
    pid = shared.host.fault("stall", "net")
    with pytest.raises(ControlError, match=rf"net \(pid {pid}\) stands still \(SIGSTOP\)"):
        shared.refusal(action="start", vif="guest", side="back", snaplen=100)
    shared.host.wait_node(f"{shared.back_path}/capture", None)
    shared.host.fault("resume", "net")
    shared.capture(action="stop", session=shared.start())


@pytest.mark.parametrize("said", ["99999", "0", "-1", "4294967296", "x", "", "error it is late"])
def test_a_half_that_answers_nonsense_is_refused(shared: Lab, said: str) -> None:
    """A guest owns its directory: it may answer in its driver's place."""
    shared.host.fault("stall", "guest")
    control = Control(shared.host.run_dir / "control")
    with control, shared.host.store() as store:
        control.send(asking(Capture("start", vif="guest", side="front", snaplen=9)))
        shared.host.wait(lambda: store.exists(f"{shared.front_path}/capture"), "the request")
        token = store.read(f"{shared.front_path}/capture").split()[0]
        store.write(f"{shared.front_path}/capture-ring", f"{token} {said}")
        frame = None
        while not isinstance(frame, Exit):
            frame = control.receive(1.0) or frame
        assert frame.exit == 1
        assert not store.exists(f"{shared.front_path}/capture-ring")


def test_a_capture_ends_with_the_toolstack_that_read_it(shared: Lab) -> None:
    """The half is told to stop copying, and whoever reads on is told why nothing comes.

    Red without ``_end_captures``: the half copies for nobody, and cannot be captured again."""
    session = shared.start()
    shared.host.fault("kill", "toolstack")
    shared.host.request("ready")
    shared.host.wait_node(f"{shared.back_path}/capture", None)
    text = shared.refusal(action="read", session=session)
    assert "ended with the toolstack that read the frames, which has died" in text
    again = shared.start()
    assert again > session
    shared.capture(action="stop", session=again)
