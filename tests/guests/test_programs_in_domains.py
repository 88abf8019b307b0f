"""The programs' own `main`, in a domain of the real hypervisor, with a real backend in another.

Both domains run in this process; whenever the guest waits, the backend gets its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from domains.guests import database, idle, load
from domains.guests.ledger import acknowledged
from domains.guests.load import Mismatch
from domains.guests.verify import verify
from hvsim.domain import VCPU, Domain
from hvsim.drivers.block.back import BlockBack
from hvsim.drivers.block.hotplug import script
from hvsim.wire.typed import changed
from tests.drivers.blockrig import VDEV, Rig
from tests.faults.breaking import Breaker
from tests.support.hv import Hypervisor

Turn = Callable[[], None]


class Guest:
    """A rig whose guest runs a program; `each_turn` is called whenever the guest waits."""

    def __init__(self, rig: Rig, patch: pytest.MonkeyPatch) -> None:
        self.rig = rig
        self.dom = rig.guest
        self.lines: list[str] = []
        self.each_turn: Turn = lambda: None
        self._patch_waits(patch)
        patch.setattr(Domain, "log", lambda dom, text: self.lines.append(text))

    def _patch_waits(self, patch: pytest.MonkeyPatch) -> None:
        """Whenever the guest waits, the others have their turn."""
        original = VCPU.block

        def block(
            vcpu: VCPU,
            timeout: float | None = None,
            until: int | None = None,
            *,
            port: int | None = None,
        ) -> bool:
            if vcpu is not self.dom.vcpu:
                return original(vcpu, timeout, until, port=port)
            self.each_turn()
            self.rig.store.settle()
            for dom in self.rig.live:
                if dom is not self.dom and original(dom.vcpu, 0.0005):
                    dom.vcpu.dispatch()
            return original(vcpu, 0.001 if timeout is None else min(timeout, 0.001), port=port)

        patch.setattr(VCPU, "block", block)

    def run(self, program: Callable[[Domain], None], options: str) -> None:
        """Run ``program`` to its end in the guest, with these words on its command line."""
        self.dom.start_info["cmd_line"] = options
        self.dom.shutdown_requested = None
        program(self.dom)

    @property
    def health(self) -> str | None:
        return self.rig.store.get(f"/local/domain/{self.dom.domid}/data/health")

    def when(self, enough: Callable[[], bool], action: Turn) -> None:
        """Do ``action`` once, as soon as ``enough()`` holds in some turn."""

        def turn() -> None:
            if enough():
                self.each_turn = lambda: None
                action()

        self.each_turn = turn

    def commits(self) -> list[int]:
        return acknowledged(self.lines)


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guest]:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(2048 * 512))
    with Hypervisor(tmp_path) as hv:
        rig = Rig(hv, image)
        with monkeypatch.context() as patch:
            yield Guest(rig, patch)
        for dom in rig.live:
            dom.stop_drivers()
        rig.bury()


def shut_down(guest: Guest) -> Turn:
    return lambda: guest.dom.request_shutdown("poweroff")


def test_the_database_commits_until_the_shutdown(guest: Guest) -> None:
    guest.rig.start(guest.rig.domain())
    guest.when(lambda: len(guest.commits()) >= 10, shut_down(guest))
    guest.run(database.main, "rows=2 size=100")
    assert guest.health == "ok"
    done = guest.commits()
    assert done == list(range(1, len(done) + 1))
    verdict = verify(guest.rig.image)
    assert verdict.sound
    assert verdict.max_batch == done[-1] >= 10
    # The next boot goes on where this one ended.
    guest.run(database.main, "rows=2 commits=3")
    assert guest.commits() == list(range(1, done[-1] + 4))
    assert f"{done[-1]} batches found" in " ".join(guest.lines)


def kill_now_and_then(guest: Guest, kills: int, every: int) -> list[Domain]:
    """Kill the backend in every so-manieth turn and give the disk a new one; the backends."""
    rig = guest.rig
    backs = [rig.domain()]
    rig.start(backs[0])
    turns = 0

    def turn() -> None:
        nonlocal turns
        if guest.health != "ok" or len(backs) > kills or not rig.disk.connected:
            return
        turns += 1
        if turns % every == 0:
            rig.kill(backs[-1])
            backs.append(rig.domain())
            BlockBack.register(backs[-1], script(backs[-1]))
            rig.attach(backs[-1])

    guest.each_turn = turn
    return backs


@pytest.mark.parametrize("every", [5, 8, 11])
def test_no_acknowledged_commit_is_lost_with_the_backend(guest: Guest, every: int) -> None:
    backs = kill_now_and_then(guest, 4, every)
    guest.run(database.main, "rows=3 size=900 commits=20")
    assert len(backs) == 5
    assert guest.commits() == list(range(1, 21))
    verdict = verify(guest.rig.image)
    assert verdict.sound
    assert verdict.lost(guest.commits()) == []
    assert guest.rig.disk.statistics()["connections"] == 5


def test_a_frontend_that_forgets_its_requests_is_caught(guest: Guest) -> None:
    """Negative control: the load's own check, and the verdict on the database, see the loss."""
    backs = kill_now_and_then(guest, 4, 5)
    breaker = Breaker(guest.rig.hv, guest.dom, backs[0], ("vbd", VDEV, "xvda"))
    rule = breaker.rule("guest/xvda", "ring=forget", "half=front")
    breaker.enter_rule(changed(rule, peer=None))
    with pytest.raises(Mismatch, match=r"sector \d+: (zeros|generation)"):
        guest.run(load.main, "area=64 depth=16 requests=400 seed=4 flush=0 reads=50")


def test_the_load_verifies_across_dead_backends(guest: Guest) -> None:
    backs = kill_now_and_then(guest, 3, 8)
    guest.run(load.main, "area=256 depth=16 requests=400 seed=4 flush=10")
    assert len(backs) == 4
    assert "sectors verified" in guest.lines[-1]


def test_a_load_that_is_to_leave_time_to_others(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red without the pause: requests follow each other at once."""
    pauses: list[float] = []
    monkeypatch.setattr(Domain, "sleep", lambda dom, seconds: pauses.append(seconds))
    guest.rig.start(guest.rig.domain())
    guest.run(load.main, "area=64 requests=20 rate=50")
    assert pauses == [1 / 50] * 20
    guest.run(load.main, "area=64 requests=20")
    assert len(pauses) == 20


def test_the_idle_guest_is_ready_and_leaves_when_asked(guest: Guest) -> None:
    rig = guest.rig
    rig.start(rig.domain())
    guest.when(lambda: guest.health == "ok", shut_down(guest))
    guest.run(idle.main, "")
    assert guest.health == "ok"
    assert rig.disk.connected
