"""The store nodes that the toolstack would write, against what libxl wrote on a real host.

No lab is needed: the layout is pure.  What only a running lab shows is in test_replay.py.
"""

from collections.abc import Iterable

import pytest

from hvsim.toolstack.devices import nodes
from hvsim.toolstack.devices.console import add_console
from hvsim.toolstack.devices.vbd.half import Vbd
from hvsim.toolstack.devices.vif.half import Vif
from hvsim.toolstack.domain import layout
from hvsim.toolstack.domain.layout import Build
from hvsim.toolstack.host.device import Device
from hvsim.toolstack.host.nodes import write
from hvsim.xs.requests import Request
from tests.fidelity.recording import Entry, listing, mutations, trace

UUID = "13799b06-1a2d-4726-b339-b2bcccf4ce53"
NIC = Vif("00:16:3e:00:00:01", "xenbr0")
DISK = Vbd("/root/domu/d1.img", "xvda")


def entries(batch: Iterable[Request[object]]) -> list[Entry]:
    """Requests as they would stand in a trace of xenstored."""
    found = []
    for request in batch:
        parts = request.payload.decode().split("\0")
        value = " ".join(parts[1:]).strip()
        found.append(Entry("XL", request.name, request.path, value))
    return found


def recorded(name: str, start: str, domu: int = 1) -> list[Entry]:
    """What xl changed at and below *start*, refused removals as if they had gone through."""
    return [
        Entry(entry.who, entry.verb, entry.path, entry.value)
        for entry in mutations(trace(name, {"domU": domu}))
        if entry.who == "XL" and (entry.path == start or entry.path.startswith(f"{start}/"))
    ]


def below(batch: Iterable[Request[object]], start: str) -> list[Entry]:
    """The same part of what we would change."""
    return [
        entry
        for entry in entries(batch)
        if entry.path == start or entry.path.startswith(f"{start}/")
    ]


def whole_domain() -> list[Request[object]]:
    build = Build(
        domid=1,
        uuid=UUID,
        memory_kib=196608,
        maxmem_kib=196608,
        vcpus=2,
        maxvcpus=2,
        store_gfn=1814529,
        store_port=1,
        kernel="/root/domu/vmlinuz",
        ramdisk="/root/domu/initrd.gz",
        cmdline="console=hvc0 myip=192.168.77.11",
        start_time=1795242667.50,
    )
    return [
        *layout.domain_skeleton(1, UUID, "du1", driver_domain=False),
        *layout.built(build),
        *nodes.add(Device(1, "vbd", 51712, 0), DISK),
        *nodes.add(Device(1, "vif", 0, 0), NIC),
        *add_console(Device(1, "console", 0, 0), 2, 1814530),
    ]


@pytest.mark.parametrize(
    "start",
    [
        f"/vm/{UUID}",
        "/libxl/1/device/vbd",
        "/libxl/1/device/vif",
        "/libxl/1/device/console",
        "/local/domain/1/device/vbd",
        "/local/domain/1/device/vif",
        "/local/domain/1/console",
        "/local/domain/0/backend/vbd",
        "/local/domain/0/backend/vif",
        "/local/domain/0/backend/console",
        "/local/domain/1/control",
        "/local/domain/1/cpu",
        "/local/domain/1/memory",
        "/local/domain/1/store",
        "/local/domain/1/device/suspend",
    ],
)
def test_create_writes_what_libxl_wrote_in_its_order(start: str) -> None:
    assert below(whole_domain(), start) == recorded("20-create-phy-vif", start)


def test_the_nodes_of_a_domain_come_in_libxls_order() -> None:
    def ours(found: list[Entry]) -> list[Entry]:
        return [
            entry
            for entry in found
            if "/device/v" not in entry.path
            and entry.path.startswith(("/local/domain/1", "/vm/", "/libxl/1"))
            and not entry.path.endswith("dm-version")
        ]

    assert ours(entries(whole_domain())) == ours(recorded("20-create-phy-vif", ""))


def test_a_second_disk_is_attached_as_libxl_does() -> None:
    device = Device(1, "vbd", 51728, 0)
    batch = nodes.add(device, Vbd("/root/domu/d2.img", "xvdb"))
    assert entries(batch) == recorded("40-block-attach-phy", "")


def test_a_second_interface_is_attached_as_libxl_does() -> None:
    device = Device(1, "vif", 1, 0)
    batch = nodes.add(device, Vif("00:16:3e:00:00:21", "xenbr0"))
    assert entries(batch) == recorded("42-network-attach", "")


def test_a_driver_domain_has_two_nodes_more() -> None:
    uuid = "add1885c-2ab2-41fa-b268-2917ce93470a"
    batch = layout.domain_skeleton(20, uuid, "drv", driver_domain=True)
    first = recorded("90-create-driver-domain", "", 20)[: len(batch)]
    assert entries(batch) == first


def test_a_disk_of_a_driver_domain_names_it_in_paths_and_permissions() -> None:
    device = Device(21, "vbd", 51712, 20)
    batch = nodes.add(device, Vbd("/dev/xvdb", "xvda"))
    found = recorded("91-create-guest-on-driver-domain", "", 21)
    paths = (device.libxl, device.frontend, device.backend)
    assert entries(batch) == [entry for entry in found if entry.path.startswith(paths)]


def test_permissions_are_those_that_xenstore_ls_shows() -> None:
    shown = listing("21-xenstore-ls-connected.txt")
    said = {request.path: request for request in whole_domain() if request.name == "SET_PERMS"}
    assert len(said) > 30
    for path, request in said.items():
        perms = ",".join(request.payload.decode().split("\0")[1:-1])
        assert shown[path][1] == perms, path


def final(batch: Iterable[Request[object]]) -> dict[str, tuple[str, str]]:
    """What stands in a store after *batch*: path -> (value, permissions)."""
    nodes: dict[str, tuple[str, str]] = {}
    for entry in entries(batch):
        if entry.verb == "RM":
            nodes = {
                path: node
                for path, node in nodes.items()
                if path != entry.path and not path.startswith(f"{entry.path}/")
            }
            continue
        value, perms = nodes.get(
            entry.path, ("", nodes.get(entry.path.rpartition("/")[0], ("", ""))[1])
        )
        new = (value, entry.value) if entry.verb == "SET_PERMS" else (entry.value, perms)
        nodes[entry.path] = new
    return nodes


def test_only_a_driver_domain_is_told_who_made_a_device() -> None:
    """It is not libxl's word, so what dom0 serves is as it was recorded."""
    theirs, ours = Device(3, "vbd", 51712, 2), Device(3, "vbd", 51712, 0)
    assert [entry.path for entry in entries(nodes.made_here(theirs))] == [
        "/local/domain/2/backend/vbd/3/51712/toolstack"
    ]
    assert nodes.made_here(ours) == []


def test_a_moved_disk_stands_as_one_that_was_attached_there() -> None:
    """The recovery protocol's result: an attach to the new backend, permissions included."""
    old, new = Device(3, "vbd", 51712, 2), Device(3, "vbd", 51712, 4)
    guest_wrote = [("ring-ref", "8"), ("event-channel", "8"), ("queue-0/ring-ref", "9")]
    connected = nodes.add(old, DISK)
    for key, value in guest_wrote:
        connected += write(f"{old.frontend}/{key}", value, ["n3", "r2"])
    keys = [
        path.removeprefix(f"{old.frontend}/")
        for path in final(connected)
        if path.startswith(f"{old.frontend}/")
    ]

    expected = final([*nodes.add(new, DISK), *nodes.made_here(new)])
    expected |= {f"{new.frontend}/{key}": (value, "n3 r4") for key, value in guest_wrote}
    assert final(connected + nodes.move(old, new, DISK, keys)) == expected


def test_a_recorded_trace_is_read_whole() -> None:
    found = list(trace("20-create-phy-vif", {"domU": 1}))
    assert {entry.who for entry in found} >= {"XL", "KERN0", "SCRIPT", "CONS", "domU"}
    assert sum(1 for entry in found if entry.verb == "WRITE") > 150
