"""A database on a real QEMU's qdisk, while QEMU is killed and killed again.

Every transaction that the guest called committed must be in the image afterwards, read with
qemu-img and the standard library's sqlite3.

Seen red: with a toolstack that starts QEMU again without putting the device back to its beginning
(recording 53: the guest hangs), and with blkfront's forget-unanswered (the last test).
"""

from pathlib import Path

import pytest

from domains.guests.verify import verify
from tests.support.qdisk_labs import FORMATS, Image, QdiskLab, running, seen

pytestmark = pytest.mark.interop

DATABASE = "domains.guests.database:main"
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


def test_a_frontend_that_forgets_is_found_out(tmp_path: Path) -> None:
    """The negative control: blkfront calls done what was unanswered when QEMU died."""
    image = Image(tmp_path / "db", "raw").make("64M")
    more = 'args = { sabotage = "forget-unanswered" }\n'
    with running(tmp_path, image.disk(), DATABASE, more) as lab:
        lab.await_commits(20, "the first commits")
        for _ in range(KILLS):
            if not lab.qemu():
                break  # the guest has noticed, and is gone
            lab.hvsim.run("fault", "kill", "qemu-1")
            lab.hvsim.run("ps")
        acknowledged = lab.acknowledged()
    verdict = verify(image.raw(tmp_path))
    assert not verdict.sound or verdict.lost(acknowledged)
