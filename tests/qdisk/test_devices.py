"""Disks of a real QEMU come and go: attach, handshake, detach to the end, QEMU's own end.

Seen red: with a toolstack that leaves QEMU running after its guest.
"""

import os
from pathlib import Path

import pytest

from tests.support.qdisk_labs import Image, QdiskLab, running, seen

pytestmark = pytest.mark.interop

IDLE = "domains.guests.idle:main"


def states(lab: QdiskLab, devid: int) -> tuple[str | None, str | None]:
    """(frontend's, backend's) state."""
    return (
        lab.node(f"/local/domain/1/device/vbd/{devid}/state"),
        lab.node(f"/local/domain/0/backend/qdisk/1/{devid}/state"),
    )


def test_attach_and_detach(tmp_path: Path) -> None:
    image = Image(tmp_path / "a", "qcow2").make("16M")
    second = Image(tmp_path / "b", "raw").make("4M")
    with running(tmp_path, image.disk(), "domains.guests.load:main") as lab:
        xl = lab.hvsim
        for _ in range(2):
            xl.ok("xl", "block-attach", "guest", second.disk().replace("xvda", "xvdb"))
            seen(lambda: states(lab, 51728) == ("4", "4"), "xvdb to connect")
            assert "/local/domain/0/backend/qdisk/1/51728" in xl.ok("xl", "block-list", "guest")
            xl.ok("xl", "block-detach", "guest", "xvdb")
            assert states(lab, 51728) == (None, None)
            assert lab.node("/libxl/1/device/vbd/51728/backend") is None
        assert states(lab, 51712) == ("4", "4"), "the other disk has seen nothing of it"


def test_a_guest_without_qemu_gets_none_later(tmp_path: Path) -> None:
    """Recording 50, word for word; 51 is the same mistake once more."""
    image = Image(tmp_path / "a", "raw").make("4M")
    second = Image(tmp_path / "b", "raw").make("4M")
    phy = f"format=raw,vdev=xvda,access=rw,target={image.path}"
    with running(tmp_path, phy, IDLE) as lab:
        assert lab.qemu() == 0
        done = lab.hvsim.run("xl", "block-attach", "guest", second.disk().replace("xvda", "xvde"))
        assert (done.returncode, done.stderr.splitlines()) == (
            1,
            [
                "libxl: error: libxl_dm.c:3845:libxl__dm_check_start: Domain 1:device model "
                "required but not running",
                "libxl: error: libxl_device.c:1486:device_addrm_aocomplete: unable to add device",
                "libxl_device_disk_add failed.",
            ],
        )
        done = lab.hvsim.run("xl", "block-detach", "guest", "xvde")
        assert (done.returncode, done.stderr.splitlines()) == (
            1,
            [
                "libxl: error: libxl_disk.c:516:libxl__disk_from_xenstore: disk "
                "/libxl/1/device/vbd/51776 does not exist (no backend path",
                "Error: Device xvde not connected.",
            ],
        )


def test_qemu_goes_with_its_guest(tmp_path: Path) -> None:
    image = Image(tmp_path / "a", "qcow2").make("16M")
    with running(tmp_path, image.disk(), IDLE) as lab:
        pid = lab.qemu()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert len(children) == 1, "QEMU is the one child of the process below it"
        lab.hvsim.ok("xl", "destroy", "guest")
        seen(lambda: not os.path.exists(f"/proc/{children[0]}"), "QEMU to end")
        for path in ("device-model", "backend"):
            assert lab.node(f"/local/domain/0/{path}") is None
        image.must_be_clean()
