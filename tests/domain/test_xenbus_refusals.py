"""Devices that make no sense, drivers that stumble: each loses itself and nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hvsim.abi.xenbus import XenbusState
from tests.domain.xenbus_rig import Front, Rig, connected


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.vcpu.close()


def test_a_stumbling_driver_loses_its_device_only(rig: Rig) -> None:
    """77: error/<nodename>/error = "<n> text" below the own path, B=5."""
    connected(rig)
    rig.back_stumbles = True
    rig.attach(51728)
    assert rig.store.get("/local/domain/0/error/backend/vbd/1/51728/error") == (
        "22 ValueError: bogus ring-ref"
    )
    assert rig.states(51712) == ("4", "4")
    assert rig.states(51728)[1] in ("5", "6")
    assert rig.log[-1] == "vbd vbd-1-51728: 22 ValueError: bogus ring-ref"
    assert "Traceback" in rig.log[0], "a bug of ours is shown where it is"


def test_a_failed_probe_is_reported_and_closed(rig: Rig) -> None:
    rig.front_fails = True
    rig.start()
    rig.attach()
    assert rig.store.get("/local/domain/1/error/device/vbd/51712/error") == (
        "22 KeyError: 'virtual-device'"
    )
    assert rig.states()[0] == "6"
    assert rig.fronts[0].calls == ["probe", "removed"]


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("frontend-id", "x", "22 backend/vbd/1/51712/frontend-id is 'x'"),
        ("frontend-id", "32752", "22 backend/vbd/1/51712/frontend-id is '32752'"),
        ("frontend", "relative", "22 backend/vbd/1/51712/frontend is 'relative'"),
        ("frontend", "/nowhere", "2 backend/vbd/1/51712: no frontend at /nowhere"),
    ],
)
def test_directories_that_make_no_sense(rig: Rig, key: str, value: str, text: str) -> None:
    rig.attach(settle=False)
    rig.xl.write(f"{rig.paths()[1]}/{key}", value)
    rig.start()
    assert rig.store.get("/local/domain/0/error/backend/vbd/1/51712/error") == text
    assert rig.states()[1] == "6"
    assert rig.backs == []


def test_a_frontend_refused_while_its_backend_was_away_gets_a_new_chance(rig: Rig) -> None:
    rig.attach(settle=False)
    rig.xl.rm(rig.paths()[1])
    rig.start()
    assert rig.states()[0] == "6"
    rig.attach()
    rig.hotplug()
    assert rig.states() == ("4", "4")


def test_an_illegal_move_is_refused_before_it_is_written(rig: Rig) -> None:
    connected(rig)
    device = rig.backs[0].device
    assert device is not None
    device.switch_state(XenbusState.Closed)
    with pytest.raises(ValueError, match="a backend may not go from Closed to Connected"):
        device.switch_state(XenbusState.Connected)
    assert rig.states()[1] == "6"


def test_a_state_is_not_written_into_a_directory_that_has_gone(rig: Rig) -> None:
    connected(rig)
    device = rig.fronts[0].device
    assert device is not None
    rig.xl.rm(rig.paths()[0])
    device.switch_state(XenbusState.Closing)
    assert rig.states()[0] is None
    assert device.state == XenbusState.Connected


def test_a_foreign_write_of_nonsense_is_a_fatal_error_of_the_backend_only(rig: Rig) -> None:
    connected(rig)
    rig.xl.write(f"{rig.paths()[0]}/state", "garbage")
    rig.store.settle()
    assert rig.backs[0].calls[-2:] == ["Unknown", "removed"]


def test_one_driver_for_a_type(rig: Rig) -> None:
    rig.start()
    with pytest.raises(ValueError, match="device/vbd has a driver"):
        rig.frontends.register("vbd", lambda: Front(rig))


def test_stop_releases_everything(rig: Rig) -> None:
    connected(rig)
    rig.frontends.stop()
    rig.backends.stop()
    assert [c.watches for c in rig.store.connections] == [[], [], []]
    assert rig.fronts[0].calls[-1] == rig.backs[0].calls[-1] == "removed"
    assert rig.states() == ("4", "4"), "nothing is written"
