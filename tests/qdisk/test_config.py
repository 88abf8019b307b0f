"""Which backend libxl takes for a disk (disk_try_backend, libxl_device.c)."""

import pytest

from hvsim.toolstack.config import parse_disk
from hvsim.toolstack.devices.vbd.refusals import backendtype


@pytest.mark.parametrize(
    ("spec", "taken"),
    [
        ("format=raw,vdev=xvda,target=/a", "phy"),
        ("format=qcow2,vdev=xvda,target=/a", "qdisk"),  # recording 52
        ("format=qed,vdev=xvda,target=/a", "qdisk"),
        ("format=raw,backendtype=qdisk,vdev=xvda,target=/a", "qdisk"),  # recording 50
        ("format=raw,backendtype=phy,vdev=xvda,target=/a", "phy"),
        ("format=qcow2,backendtype=phy,vdev=xvda,target=/a", None),
        ("format=qcow2,script=block-nbd,vdev=xvda,target=/a", None),
        ("format=raw,backendtype=tap,vdev=xvda,target=/a", None),
    ],
)
def test_choice(spec: str, taken: str | None) -> None:
    assert backendtype(parse_disk(spec)) == taken
