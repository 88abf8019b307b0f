"""Driver domains made by ``xl create``, and what they serve disks from.

Seen red: with a driver domain that opens what it was born with and nothing else; with a
physical-device that only means what hotplug has written; with files that stay lent.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab_host import LabHost

DRIVER = """name="drv"
kernel="{home}/vmlinuz"
memory=64
disk=["format=raw,vdev=xvdb,access=rw,target={home}/own.img"]
vif=["mac=00:16:3e:00:00:d0,bridge=xenbr0"]
driver_domain=1
"""
GUEST = """name="gA"
program="tests.toolstack.guests:write_all"
memory=32
"""
MIB = 1 << 20


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("driver")
    (home / "vmlinuz").write_bytes(b"\x7fELF" + bytes(4096))
    for name in ("own.img", "named.img"):
        (home / name).write_bytes(bytes(2 * MIB))
    (home / "drv.cfg").write_text(DRIVER.format(home=home))
    return home


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[LabHost]:
    """A lab with a driver domain drv, made from the config of recording 90."""
    with LabHost(tmp_path_factory.mktemp("lab")) as lab:
        made = lab.xl("create", str(home / "drv.cfg"))
        assert made.exit == 0, made
        lab.wait_node(f"/local/domain/{made.data['domid']}/data/health", "ok")
        yield lab


@pytest.fixture
def guest(host: LabHost) -> Iterator[str]:
    yield "gA"
    host.xl("destroy", "gA")


def driver(host: LabHost) -> int:
    return int(host.xl("domid", "drv").out)


def test_it_serves_its_own_disk_files_that_are_named_and_interfaces(
    host: LabHost, home: Path, guest: str
) -> None:
    """Recording 91, with the nodes that the block script leaves there."""
    domid = host.create(
        GUEST + f"disk=['vdev=xvda,backend=drv,target=/dev/xvdb',"
        f"'vdev=xvdc,backend=drv,target={home}/named.img',"
        f"'vdev=xvdd,backend=drv,access=ro,target={home}/vmlinuz']\n"
        "vif=['bridge=drvbr0,backend=drv']\nprogram='domains.guests.idle:main'",
        program=None,
    )
    base = f"/local/domain/{driver(host)}/backend"
    for number in (51712, 51744, 51760):
        host.wait_node(f"{base}/vbd/{domid}/{number}/state", "4")
    host.wait_node(f"{base}/vif/{domid}/0/state", "4")
    with host.store() as store:
        disk = f"{base}/vbd/{domid}/51712"
        assert store.read_many(
            [f"{disk}/{key}" for key in ("node", "physical-device", "physical-device-path")]
        ) == ["/dev/xvdb", "ca:10", "/dev/xvdb"]


def test_what_is_written_arrives(host: LabHost, home: Path, guest: str) -> None:
    domid = host.create(
        GUEST + f"disk=['vdev=xvda,backend=drv,target=/dev/xvdb',"
        f"'vdev=xvdc,backend=drv,target={home}/named.img']"
    )
    host.wait_node(f"/local/domain/{domid}/data/health", "ok")
    for name in ("own.img", "named.img"):
        found = (home / name).read_bytes()
        assert found[8 * 512 : 308 * 512] == bytes(range(256)) * 2 * 300, name
        assert found[1000 * 512 : 1001 * 512] == b"b" * 512, name
        assert len(found) == 2 * MIB


def test_a_disk_that_hotplug_cannot_find_waits_for_its_number(
    host: LabHost, home: Path, guest: str
) -> None:
    """Surprise 43: physical-device written by hand connects it; the state was InitWait, not an
    error, and hotplug-status stays what it was."""
    domid = host.create(
        'name="gA"\nprogram="domains.guests.idle:main"\nmemory=32\n'
        "disk=['vdev=xvda,backend=drv,target=/dev/nosuch']"
    )
    back = f"/local/domain/{driver(host)}/backend/vbd/{domid}/51712"
    host.wait_node(f"/local/domain/{domid}/device/vbd/51712/state", "3")
    host.wait_node(f"{back}/hotplug-status", "error")
    with host.store() as store:
        assert store.read(f"{back}/state") == "2"
        assert "does not exist in domain" in store.read(f"{back}/hotplug-error")
        store.write(f"{back}/physical-device", "ca:10")
    host.wait_node(f"{back}/state", "4")
    host.wait_node(f"/local/domain/{domid}/device/vbd/51712/state", "4")
    with host.store() as store:
        assert store.read(f"{back}/hotplug-status") == "error"
        assert store.read(f"{back}/sectors") == str(2 * MIB // 512)


def test_a_file_is_lent_as_long_as_a_disk_names_it(host: LabHost, home: Path, guest: str) -> None:
    """Seen by what the driver domain is given when it asks by itself."""
    asks = host.create(
        'name="asks"\nmemory=16\ndriver_domain=1',
        program="tests.toolstack.guests:borrow",
        profile="driver",
        args={"path": f"{home}/named.img"},
    )
    said = f"/local/domain/{asks}/data/given"
    host.wait_node(said, "nothing")
    host.create('name="gA"\nprogram="domains.guests.idle:main"\nmemory=32')
    host.xl("pause", "gA")
    attach = host.xl("block-attach", "gA", f"vdev=xvdc,backend=asks,target={home}/named.img")
    assert attach.exit == 0, attach
    host.wait_node(said, "a file")
    assert host.xl("block-detach", "-f", "gA", "xvdc").exit == 0
    host.wait_node(said, "nothing")
    host.xl("destroy", "asks")


def test_a_driver_domain_that_is_built_again_is_lent_it_again(
    host: LabHost, home: Path, guest: str
) -> None:
    again = host.create(
        'name="again"\nmemory=32\ndriver_domain=1', profile="driver", restart="always"
    )
    host.wait_node(f"/local/domain/{again}/data/health", "ok")
    domid = host.create(
        'name="gA"\nprogram="domains.guests.idle:main"\nmemory=32\n'
        f"disk=['vdev=xvda,backend=again,target={home}/named.img']"
    )
    front = f"/local/domain/{domid}/device/vbd/51712"
    host.wait_node(f"{front}/state", "4")
    pids = {row["domid"]: row["pid"] for row in host.request("ps").data["processes"]}
    os.kill(pids[again], signal.SIGKILL)
    with host.store() as store:
        host.wait(
            lambda: (
                store.read_many([f"{front}/backend-id", f"{front}/state"])
                not in ([str(again), "4"], [str(again), "3"])
                and store.read(f"{front}/state") == "4"
            ),
            "another backend",
        )
    host.xl("destroy", "again")
