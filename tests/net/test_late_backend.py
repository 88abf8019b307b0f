"""A network domain that is paused: what xl says after its ten seconds, and what stays.

(One that stands still by a fault is named at once: tests/observe/test_incidents.py.)"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hvsim.lab.answers import Answer
from hvsim.lab.control import Control
from hvsim.wire.control import Xl
from tests.support.lab_host import TIMEOUT, LabHost
from tests.toolstack import hasty

WHERE = "libxl: error: libxl_device.c"
SECONDS = 10.0
"""What libxl waits, for either end."""
NETWORK = """
name = "network"
memory = 64
driver_domain = 1
extra = "address=10.0.0.254/24"
"""
NEAR = """
name = "near"
memory = 64
vif = ["bridge=xenbr0,ip=10.0.0.1/24,backend=network"]
"""
ATTACH = ("network-attach", "near", "bridge=xenbr0", "backend=network")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LabHost]:
    with LabHost(tmp_path, toolstack=hasty.PROGRAM) as made:
        yield made


def ok(host: LabHost, *argv: str) -> None:
    answer = host.xl(*argv)
    assert answer.exit == 0, (argv, answer)


def interfaces(host: LabHost) -> list[int]:
    return [row["devid"] for row in host.xl("network-list", "near", json=True).data]


def test_a_late_backend_is_waited_for_and_named(host: LabHost) -> None:
    """Both commands end with libxl's texts, who it was, and exit code 1; when the backend goes on,
    what they left can be detached.  Red when the wait for InitWait or for Closed has no end."""
    network = host.create(NETWORK, program="domains.network:main", profile="driver")
    near = host.create(NEAR, program="domains.guests.idle:main")
    host.wait_node(f"/local/domain/{near}/device/vif/0/state", "4")
    back = f"/local/domain/{network}/backend/vif/{near}"
    ok(host, *ATTACH)
    host.wait_node(f"{back}/1/state", "4")
    ok(host, "pause", "network")
    paused = f"network (domain {network}) is paused; `hvsim xl unpause network` lets it go on"

    def ask(*argv: str) -> Answer:
        with Control(host.run_dir / "control") as control:
            return control.request(Xl(argv), patience=TIMEOUT)

    with ThreadPoolExecutor() as pool:
        detach = pool.submit(ask, "network-detach", "near", "1")
        hasty.wait_out(host, "to be Closed", SECONDS)
        attach = pool.submit(ask, *ATTACH)
        hasty.wait_out(host, "to reach InitWait", SECONDS)
        answers = [one.result(TIMEOUT) for one in (detach, attach)]
    assert [answer.exit for answer in answers] == [1, 1]
    assert answers[0].err.splitlines() == [
        f"{WHERE}:1181:device_backend_callback: Domain {near}:unable to remove device with "
        f"path {back}/1",
        f"{WHERE}:1481:device_addrm_aocomplete: Domain {near}:Unable to remove vif with id 1",
        f"libxl: info: {paused}",
        "libxl_device_nic_del failed.",
    ]
    assert answers[1].err.splitlines() == [
        f"{WHERE}:1109:device_backend_callback: Domain {near}:unable to add device with "
        f"path {back}/2",
        f"libxl: info: waited 10 s for the backend of vif 2 of domain {near} in network "
        f"(domain {network}) to reach InitWait: {paused}",
        f"{WHERE}:1481:device_addrm_aocomplete: Domain {near}:Unable to add vif with id 2",
        "libxl_device_nic_add failed.",
    ]
    assert interfaces(host) == [0, 1, 2]
    ok(host, "unpause", "network")
    for number in ("1", "2"):
        ok(host, "network-detach", "near", number)
    assert interfaces(host) == [0]
