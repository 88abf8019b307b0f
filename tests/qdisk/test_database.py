"""A database on a real QEMU's qdisk, while QEMU is killed and killed again.

Every transaction that the guest called committed must be in the image afterwards, read with
qemu-img and the standard library's sqlite3.

Seen red: with a toolstack that starts QEMU again without putting the device back to its beginning
(recording 53: the guest hangs), with a QEMU that outlives the process below it for a moment (the
load gets BLKIF_RSP_ERROR), with domains.qdisk that does not mind QEMU's end, and with blkfront's
forget-unanswered (which is a test).
"""

import os
import signal
from pathlib import Path

import pytest

from domains.guests.verify import verify
from hvsim.lab.processes import descendants
from tests.support import optional
from tests.support.labs import ROOT, commands
from tests.support.qdisk_labs import FORMATS, Image, QdiskLab, need, running, seen

pytestmark = pytest.mark.interop

DATABASE = "domains.guests.database:main"
LOAD = "domains.guests.load:main"
FRONTEND = "/local/domain/1/device/vbd/51712/state"
KILLS = 6


def kill(lab: QdiskLab) -> None:
    """SIGKILL, and wait for another QEMU."""
    before = lab.qemu()
    assert before
    lab.hvsim.ok("fault", "kill", "qemu-1")
    seen(lambda: lab.qemu() not in (0, before), "QEMU to be started again")


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_acknowledged_is_lost(tmp_path: Path, format: str) -> None:
    image = Image(tmp_path / "db", format).make("64M")
    with running(tmp_path, image.disk(), DATABASE) as lab:
        lab.await_commits(20, "the first commits")
        for number in range(KILLS):
            kill(lab)
            lab.await_commits(20 + number, f"commits after kill {number + 1}")
        acknowledged = lab.acknowledged()
    assert acknowledged == list(range(1, len(acknowledged) + 1))
    found = image.check()
    # Between a refcount and the use of its cluster a SIGKILL may leak the cluster, not more.
    assert (found["check-errors"], found.get("corruptions", 0)) == (0, 0), found
    verdict = verify(image.raw(tmp_path))
    assert verdict.sound, verdict
    assert verdict.lost(acknowledged) == []


@pytest.mark.parametrize("format", FORMATS)
def test_the_next_lab_finds_what_the_last_one_wrote(tmp_path: Path, format: str) -> None:
    """An orderly end closes the image: no leak, no lock, and the database goes on."""
    image = Image(tmp_path / "db", format).make("64M")
    for _ in range(2):
        with running(tmp_path, image.disk(), DATABASE) as lab:
            lab.await_commits(30, "commits")
        image.must_be_clean()
    verdict = verify(image.raw(tmp_path))
    assert verdict.sound, verdict
    assert verdict.batches >= 60


def test_a_load_sees_no_stale_byte(tmp_path: Path) -> None:
    """Eight requests at a time, each read compared with what was written last."""
    image = Image(tmp_path / "disk", "qcow2").make("16M")
    with running(tmp_path, image.disk(), LOAD) as lab:
        for _ in range(KILLS):
            kill(lab)
            seen(lambda: lab.node(FRONTEND) == "4", "the disk to connect again")
        lab.hvsim.ok("xl", "shutdown", "-w", "guest")
        assert "Mismatch" not in lab.console()
        assert "load: " in lab.console(), "it said goodbye in order"


def kill_or_end(lab: QdiskLab) -> bool:
    """Kill QEMU and wait until the disk is connected again; False when the guest has ended."""
    before = lab.qemu()
    if not before:
        return False
    lab.hvsim.run("fault", "kill", "qemu-1")
    seen(
        lambda: lab.qemu() not in (0, before) or lab.node(FRONTEND) is None,
        "QEMU to be started again, or the guest to end",
    )
    seen(lambda: lab.node(FRONTEND) in ("4", None), "the disk to connect again")
    return True


def test_a_frontend_that_forgets_is_found_out(tmp_path: Path) -> None:
    """The negative control: blkfront calls done what was unanswered when QEMU died."""
    image = Image(tmp_path / "disk", "raw").make("16M")
    more = '[[fault]]\ntarget = "guest/xvda"\nring = "forget"\nhalf = "front"\n'
    with running(tmp_path, image.disk(), LOAD, more) as lab:
        for _ in range(20 * KILLS):
            if "Mismatch" in lab.console() or not kill_or_end(lab):
                break
        assert "Mismatch" in lab.console()


def test_the_lab_that_we_ship() -> None:
    """One QEMU in dom0, one in a driver domain."""
    need()
    with commands() as hvsim:
        hvsim.ok("up", "--quiet", str(ROOT / "configs" / "qdisk.toml"))
        rows = hvsim.json("ps")["processes"]
        assert [row["name"] for row in rows if row["name"].startswith("qemu-")] == ["qemu-2"]
        hvsim.ok("down")


def test_qemu_in_a_driver_domain_that_dies(tmp_path: Path) -> None:
    """An unprivileged QEMU, behind walls; when it goes its domain goes, and comes back."""
    need()
    image = Image(tmp_path / "db", "qcow2").make("64M")
    storage = (
        '[[domain]]\nname = "storage"\nrole = "driver"\nmemory = 64\nrestart = "always"\n'
        f'program = "domains.qdisk:main"\nargs = {{ exec = ["{optional.qemu()}"] }}\n'
    )
    with running(tmp_path, image.disk("backend=storage"), DATABASE, storage) as lab:
        lab.await_commits(20, "the first commits")
        assert lab.qemu() == 0, "none in dom0"
        for number in range(KILLS):
            if number % 2:
                lab.hvsim.ok("fault", "kill", "storage")
            else:
                os.kill(qemu_below(lab), signal.SIGKILL)
            lab.await_commits(20, f"commits after kill {number + 1}")
        acknowledged = lab.acknowledged()
    found = image.check()
    assert (found["check-errors"], found.get("corruptions", 0)) == (0, 0), found
    verdict = verify(image.raw(tmp_path))
    assert verdict.sound, verdict
    assert verdict.lost(acknowledged) == []


def qemu_below(lab: QdiskLab) -> int:
    """The pid of the storage domain's QEMU."""
    found: list[int] = []

    def there() -> bool:
        rows = lab.hvsim.json("ps")["domains"]
        mains = [int(row["pid"]) for row in rows if row["name"] == "storage" and row["pid"]]
        found[:] = [pid for main in mains for pid in descendants(main)]
        return bool(found)

    seen(there, "the storage domain's QEMU")
    return found[-1]
