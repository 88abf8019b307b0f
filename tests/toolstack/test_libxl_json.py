"""libxl's JSON of a domain is what the real xl makes of the same config, and what it keeps."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from hvsim.toolstack.config import parse_config
from hvsim.toolstack.devices.vbd.half import Vbd
from hvsim.toolstack.devices.vbd.type import DISKS
from hvsim.toolstack.devices.vif.half import Vif
from hvsim.toolstack.devices.vif.type import INTERFACES
from hvsim.toolstack.host import libxl_record
from hvsim.toolstack.host.device import Attached, Device
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.libxl_files import LibxlFiles
from tests.support import optional
from tests.support.dom0_lab import Dom0

UUID = "13799b06-1a2d-4726-b339-b2bcccf4ce53"

DU1 = """name="du1"
kernel="/root/domu/vmlinuz"
ramdisk="/root/domu/initrd.gz"
extra="console=hvc0 myip=192.168.77.11"
vcpus=2
memory=192
maxmem=192
disk=["format=raw,vdev=xvda,access=rw,target=/root/domu/d1.img"]
vif=["mac=00:16:3e:00:00:01,bridge=xenbr0"]
on_poweroff="destroy"
on_reboot="restart"
on_crash="destroy"
"""
"""The guest of the recordings."""

RECORDED = """{
    "c_info": {
        "type": "pv", "name": "du1", "domid": 4294967295,
        "uuid": "13799b06-1a2d-4726-b339-b2bcccf4ce53", "run_hotplug_scripts": "True"
    },
    "b_info": {
        "max_vcpus": 2, "avail_vcpus": [0, 1], "max_memkb": 196608, "target_memkb": 196608,
        "video_memkb": 0, "sched_params": {}, "claim_mode": "True",
        "kernel": "/root/domu/vmlinuz", "cmdline": "console=hvc0 myip=192.168.77.11",
        "ramdisk": "/root/domu/initrd.gz",
        "type.pv": {}, "arch_arm": {}, "arch_x86": {"msr_relaxed": "False"}
    },
    "disks": [{
        "pdev_path": "/root/domu/d1.img", "vdev": "xvda", "format": "raw", "readwrite": 1,
        "colo_restore_enable": "False"
    }],
    "nics": [
        {"devid": 0, "mac": "00:16:3e:00:00:01", "bridge": "xenbr0", "nictype": "vif"}
    ],
    "on_reboot": "restart", "on_soft_reset": "soft_reset"
}"""
"""What `xl list -l` of a real host says of it (recording 31); what the hypervisor adds to it, the
parameters of its scheduler, is left out."""

CONFIGS = {
    "du1": DU1,
    "small": 'name = "a"\nkernel = "/k"\n',
    "everything": """
name = "b"
memory = 128
maxmem = 256
vcpus = 2
maxvcpus = 3
uuid = "13799b06-1a2d-4726-b339-b2bcccf4ce53"
kernel = "/k"
ramdisk = "/r"
root = "/dev/xvda1"
extra = "quiet"
driver_domain = 1
on_poweroff = "preserve"
on_reboot = "destroy"
on_watchdog = "rename-restart"
on_crash = "coredump-restart"
disk = [
    "format=raw,vdev=xvda,access=rw,target=/a.img",
    "format=qcow2,vdev=xvdb,access=ro,backend=storage,target=/b.img",
    "format=raw,vdev=xvdc,devtype=cdrom,access=ro,target=/c.iso",
    "format=raw,vdev=xvdd,backendtype=qdisk,access=rw,target=/d",
    "/e.img,raw,xvde,w,script=block-own",
    "phy:/dev/sda,xvdf,w",
]
vif = [
    "",
    "mac=00:16:3e:00:00:01,bridge=xenbr1,mtu=1400",
    "ip=10.0.0.2,rate=10Mb/s@20ms,vifname=own,script=vif-own,backend=network,gatewaydev=eth0",
]
""",
}


def parsed(text: str) -> Any:
    return parse_config(text, "test.cfg")


def disks(config: Any) -> list[dict[str, Any]]:
    """As the toolstack attaches them when all are dom0's."""
    return [
        DISKS.entry(Attached(Device(1, "vbd", number, 0), Vbd(params=one.target, vdev=one.vdev)))
        for number, one in enumerate(config.disks)
    ]


def test_what_is_kept_of_a_guest_is_what_a_real_host_keeps() -> None:
    """Key by key, in its order."""
    config = parsed(DU1)
    vif = Vif(mac="00:16:3e:00:00:01", bridge="xenbr0")
    nics = [INTERFACES.entry(Attached(Device(1, "vif", 0, 0), vif))]
    devices = {"disks": disks(config), "nics": nics}
    found = libxl_record.kept(config, UUID, "none", devices)
    assert json.dumps(found) == json.dumps(json.loads(RECORDED))


@pytest.mark.interop
@pytest.mark.parametrize("name", CONFIGS)
def test_the_real_xl_understands_the_same(dom0: Dom0, name: str) -> None:
    """`xl create -n -d` of the installed xl is the judge.

    Seen red with a key left out, and with keys in another order.
    """
    optional.program("xl")
    file = dom0.folder / f"json-{name}.cfg"
    file.write_text(CONFIGS[name], encoding="utf-8")
    _, output, _ = dom0.run("xl", "create", "-n", "-d", str(file))
    theirs = json.loads(output)
    ours = parsed(CONFIGS[name]).libxl
    if "uuid" not in ours["c_info"]:
        del theirs["c_info"]["uuid"]  # drawn
    assert json.dumps(ours) == json.dumps(theirs)


@pytest.mark.parametrize(
    "vbd",
    [
        Vbd(params="/a.img", vdev="xvda"),
        Vbd(params="/a.img", vdev="xvda", readonly=True),
        Vbd(params="/a.iso", vdev="xvdb", readonly=True, cdrom=True),
        Vbd(params="/a.img", vdev="xvda", discard=False, script="/own", named=True),
        Vbd(params="/a.img", vdev="xvda", shared=True),
        Vbd(params="qcow2:/a", vdev="xvda", backendtype="qdisk", format="qcow2"),
        Vbd(params="aio:/a:b", vdev="xvda", backendtype="qdisk", format="raw"),
    ],
)
def test_a_disk_is_read_back_from_its_nodes(vbd: Vbd) -> None:
    """Red when the mode, the format or the script of another toolstack's disk is not taken over."""
    nodes = dict(vbd.backend_nodes(Device(3, "vbd", 51712, 1)))
    assert Vbd.of_nodes(nodes) == vbd


@pytest.mark.parametrize(
    "vif",
    [
        Vif(mac="00:16:3e:00:00:01", bridge="xenbr0"),
        Vif(
            mac="00:16:3e:00:00:01",
            bridge="b",
            script="/own",
            named=True,
            ifname="own",
            ip="10.0.0.1 fd00::1",
            gatewaydev="eth0",
            rate=(62500, 50000),
        ),
    ],
)
def test_an_interface_is_read_back_from_its_nodes(vif: Vif) -> None:
    nodes = dict(vif.backend_nodes(Device(3, "vif", 0, 1)))
    assert Vif.of_nodes(nodes) == vif


def test_nodes_of_nonsense_make_a_device_all_the_same() -> None:
    assert Vbd.of_nodes({}).readonly
    assert Vif.of_nodes({"rate": "x,y", "mtu": "-1"}).rate is None


def test_devices_come_and_go() -> None:
    """A device stands in place of one of its name; the last takes the list with it."""
    whole = json.loads(RECORDED)
    more = libxl_record.with_device(whole, "disks", "vdev", {"vdev": "xvdb"})
    assert [disk["vdev"] for disk in more["disks"]] == ["xvda", "xvdb"]
    again = libxl_record.with_device(more, "disks", "vdev", {"vdev": "xvdb", "format": "raw"})
    assert len(again["disks"]) == 2
    less = libxl_record.with_device(again, "nics", "devid", {"devid": 0}, gone=True)
    assert "nics" not in less
    assert list(less)[-2:] == ["on_reboot", "on_soft_reset"]
    assert whole == json.loads(RECORDED), "the old one is left as it was"


# ---- the files ----


def test_libxls_lock_is_kept(tmp_path: Path) -> None:
    """Whoever has the file locked has the domain; the file goes with the lock."""
    files = LibxlFiles(tmp_path)
    path = tmp_path / f"userdata-l.3.{UUID}.domain-userdata-lock"
    order: list[str] = []

    async def other() -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
        await anyio.sleep(0.05)
        order.append("theirs")
        path.unlink()
        os.close(fd)

    async def ours() -> None:
        await anyio.sleep(0.01)
        async with files.locked(3, UUID):
            order.append("ours")
            assert path.exists()

    async def both() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            tasks.start_soon(ours)

    anyio.run(both)
    assert order == ["theirs", "ours"]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_on_a_file_that_has_gone_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had the lock removes the file, and somebody else has it open by then.

    Red without the look whether the locked file is still the one that is there.
    """
    path = tmp_path / f"userdata-l.3.{UUID}.domain-userdata-lock"
    real, calls = fcntl.flock, 0

    def flock(fd: int, operation: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            path.unlink()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)

    async def ours() -> None:
        async with LibxlFiles(tmp_path).locked(3, UUID):
            assert path.exists()

    anyio.run(ours)
    assert calls == 2


def test_who_keeps_the_lock_is_complained_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hvsim.toolstack.host.libxl_files.LOCK_TIMEOUT", 0.05)
    path = tmp_path / f"userdata-l.3.{UUID}.domain-userdata-lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)

    async def take() -> None:
        async with LibxlFiles(tmp_path).locked(3, UUID):
            pass

    with pytest.raises(ToolstackError, match=r"a program holds .*domain-userdata-lock"):
        anyio.run(take)
    os.close(fd)


def test_what_is_kept_ends_as_libxl_wants_it(tmp_path: Path) -> None:
    files = LibxlFiles(tmp_path)
    files.store(3, UUID, {"a": 1})
    path = tmp_path / f"userdata-d.3.{UUID}.libxl-json"
    assert path.read_bytes().endswith(b"}\n\0")
    assert path.stat().st_mode & 0o777 == 0o600
    assert files.load(3, UUID) == {"a": 1}
    (tmp_path / f"userdata-d.3.{UUID}.xl").write_text("config")
    (tmp_path / f"userdata-d.33.{UUID}.xl").write_text("another's")
    files.destroy(3, UUID)
    assert [one.name for one in tmp_path.iterdir()] == [f"userdata-d.33.{UUID}.xl"]
    path.write_bytes(b"no json")
    assert files.load(3, UUID) is None
