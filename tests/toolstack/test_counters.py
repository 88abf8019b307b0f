"""Asking halves for their figures; a half that is stalled or lies costs a moment and its figures.

Red, each tried: without the transaction that looks whether the half is there (the directory of one
that has gone comes back); without the token (an old answer is believed).
"""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from hvsim.toolstack.devices.counters import ask
from hvsim.toolstack.host.store import open_store
from tests.support.lab_host import LabHost
from tests.toolstack.tappedlab import Lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with LabHost(tmp_path_factory.mktemp("counters")) as host:
        yield Lab(host)


def asked(lab: Lab, *halves: str) -> list[dict[str, int] | None]:
    async def run() -> list[dict[str, int] | None]:
        async with open_store(lab.host.store_path, "TEST", "test", anyio.Lock()) as store:
            return await ask(store, halves)

    return anyio.run(run)


def clean(lab: Lab) -> bool:
    """Whether nothing of a question stays."""
    with lab.host.store() as store:
        keys = [key for half in (lab.front_path, lab.back_path) for key in store.directory(half)]
    return not any("statistics" in key for key in keys)


def test_both_halves_answer(lab: Lab) -> None:
    front, back = asked(lab, lab.front_path, lab.back_path)
    assert front == {"rx_packets": 7, "domid": lab.guest}
    assert back == {"rx_packets": 7, "domid": lab.back}
    assert clean(lab)


def test_a_half_that_is_gone_is_not_made_anew(lab: Lab) -> None:
    gone = f"/local/domain/{lab.guest}/device/vif/9"
    assert asked(lab, gone, lab.back_path) == [None, {"rx_packets": 7, "domid": lab.back}]
    with lab.host.store() as store:
        assert not store.exists(gone)
    assert asked(lab) == []


def test_a_stalled_half_costs_a_moment(lab: Lab) -> None:
    lab.host.fault("stall", "net")
    try:
        front, back = asked(lab, lab.front_path, lab.back_path)
    finally:
        lab.host.fault("resume", "net")
    assert (front is not None, back) == (True, None)
    assert clean(lab)
    lab.host.wait(lambda: asked(lab, lab.back_path) != [None], "the backend to be back")
    lab.host.wait(lambda: clean(lab), "a late answer to be gone")


def test_an_old_answer_is_not_believed(lab: Lab) -> None:
    """A guest owns its half and may write whatever it likes there."""
    lab.host.fault("stall", "guest")
    try:
        with lab.host.store() as store:
            store.write(f"{lab.front_path}/statistics-now", "1 rx_packets=99")
        assert asked(lab, lab.front_path) == [None]
    finally:
        lab.host.fault("resume", "guest")
