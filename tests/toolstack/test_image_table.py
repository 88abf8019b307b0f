"""The toolstack's own table of images, without a lab: whose they are, what is kept, what is said.

Seen red with the path of a QEMU disk not taken out of its params, and with the note not written.
"""

import json
import os
from pathlib import Path

import pytest

from domains import daemon
from hvsim.drivers.block import lock
from hvsim.toolstack.devices.vbd.half import Vbd
from hvsim.toolstack.host.images import NOTE, Images


class Dom:
    """As much of a domain as the process below a QEMU needs to lock an image."""

    def __init__(self, run_dir: Path) -> None:
        self.args = {"run_dir": str(run_dir)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for lab in ("one", "two"):
        (tmp_path / lab).mkdir()
    (tmp_path / "a:b.qcow2").write_bytes(bytes(4096))
    return tmp_path


def qcow2(folder: Path, readonly: bool = False) -> Vbd:
    params = f"qcow2:{folder}/a:b.qcow2"
    return Vbd(params, "xvda", readonly=readonly, backendtype="qdisk", format="qcow2")


def test_images_of_qemu_are_images_too(folder: Path) -> None:
    assert qcow2(folder).image.path == f"{folder}/a:b.qcow2"
    one, two = Images(folder / "one"), Images(folder / "two")
    assert one.claim(3, 51712, "db", qcow2(folder).image) is None
    refusal = two.claim(9, 51712, "thief", qcow2(folder, readonly=True).image)
    assert refusal is not None
    assert "is disk xvda of 'db' in lab one, which may write to it" in refusal.text
    [row] = json.loads((folder / "one" / NOTE).read_text())
    assert (row["domain"], row["vdev"], row["mode"]) == ("db", "xvda", "w")
    one.release(3)
    assert json.loads((folder / "one" / NOTE).read_text()) == []
    assert two.claim(9, 51712, "thief", qcow2(folder, readonly=True).image) is None
    two.release(9)


def test_a_disk_that_is_claimed_again_is_in_nobodys_way(folder: Path) -> None:
    images = Images(folder / "one")
    for _ in range(3):
        assert images.claim(3, 51712, "db", qcow2(folder).image) is None
    before = len(os.listdir("/proc/self/fd"))
    images.release(3, 51712)
    images.release(3, 51712)
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_a_note_of_nonsense_is_no_note(folder: Path) -> None:
    one, two = Images(folder / "one"), Images(folder / "two")
    assert one.claim(3, 51712, "db", qcow2(folder).image) is None
    for nonsense in ("", "{}", "[1, null]", '[{"identity": 3}]', "\x00" * 9):
        (folder / "one" / NOTE).write_text(nonsense)
        refusal = two.claim(9, 51712, "thief", qcow2(folder).image)
        assert refusal is not None
        assert "is in use by lab one, which may write to it" in refusal.text
    one.release(3)


def test_what_is_not_there_is_not_claimed(folder: Path) -> None:
    images = Images(folder / "one")
    assert images.claim(3, 51712, "db", Vbd("/no/such.img", "xvda").image) is None
    assert images.claim(3, 51728, "db", Vbd("a\0b", "xvdb").image) is None
    images.release(3)


def test_the_process_below_a_qemu_holds_its_images(folder: Path) -> None:
    path = f"{folder}/a:b.qcow2"
    fd = daemon.hold(Dom(folder / "one"), path, False)  # type: ignore[arg-type]
    assert lock.look(path, lock.owner_of(str(folder / "two")), readonly=True) is not None
    assert lock.look(path, lock.owner_of(str(folder / "one")), readonly=False) is None
    os.close(fd)
    assert lock.look(path, lock.owner_of(str(folder / "two")), readonly=True) is None


def test_a_stranger_s_note_keeps_nobody_waiting(folder: Path) -> None:
    """A FIFO in the place of another lab's note.  Red (hung) when it is opened to be read and
    waited for, as the toolstack's only loop would."""
    one, two = Images(folder / "one"), Images(folder / "two")
    assert one.claim(3, 51712, "db", qcow2(folder).image) is None
    (folder / "one" / NOTE).unlink()
    os.mkfifo(folder / "one" / NOTE)
    refusal = two.claim(9, 51712, "thief", qcow2(folder).image)
    assert refusal is not None
    assert "in use by lab one" in refusal.text
    (folder / "one" / NOTE).unlink()
    one.release(3)
