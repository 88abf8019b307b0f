"""Hotplug scripts that a config names: the real programs run, where their links and images are.

Seen red: with scripts that nobody runs; without the mount namespace (the machine's /run/xen-hotplug
is written to); with a door to the store that an ordinary user's script finds closed; with a loop
device that nobody holds.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hvsim.lab.answers import Answer
from tests.support import optional
from tests.support.lab_host import LabHost

IDLE = 'program="domains.guests.idle:main"\nmemory=32\n'
DIRECTORY = Path("/etc/xen/scripts")
Write = Callable[[str], Path]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    with LabHost(tmp_path_factory.mktemp("scripts")) as lab:
        lab.create(f'name="g"\n{IDLE}vif=[""]')
        yield lab


@pytest.fixture
def script(tmp_path: Path) -> Write:
    """Writes a program; what it prints is in ``said`` beside it."""

    def write(text: str) -> Path:
        path = tmp_path / "script"
        path.write_text(f"#!/bin/sh\nexec >>{tmp_path}/said 2>&1\n{text}\n")
        path.chmod(0o755)
        return path

    return write


def attach(host: LabHost, *words: str) -> Answer:
    return host.xl("network-attach", "g", *words)


def node(host: LabHost, path: str) -> str | None:
    with host.store() as store:
        return store.read_many([path])[0]


def detach(host: LabHost, devid: int | None = None) -> Answer:
    """Take the vif away again, the guest has no driver for it."""
    if devid is None:
        devid = int(host.xl("network-list", "g", json=True).data[-1]["devid"])
    return host.xl("network-detach", "g", str(devid))


STANDS = """
echo "run: $*"
env | grep -E '^(script|vif|netdev|XENBUS_)' | sort
echo "links: $(ls /sys/class/net | tr '\\n' ' ')"
touch /run/xen-hotplug/lock /var/log/xen/log && echo written
echo "mac: $(xenstore-read $XENBUS_PATH/mac)"
xenstore-write $XENBUS_PATH/hotplug-status connected
"""
needs_tools = pytest.mark.usefixtures("tools")


@pytest.fixture
def tools() -> None:
    """Debian's tools for the store."""
    optional.program("xenstore-read")


@pytest.mark.interop
@needs_tools
def test_a_script_stands_among_the_links_of_dom0(
    host: LabHost, script: Write, tmp_path: Path
) -> None:
    path = script(STANDS)
    before = {place: place.exists() for place in (Path("/run/xen-hotplug/lock"),)}
    answer = attach(host, f"script={path}", "mac=00:16:3e:00:00:07", "gatewaydev=eth9")
    assert (answer.exit, answer.err) == (0, ""), answer.err
    devid, guest = answer.data["devid"], answer.data["backend"].split("/")[-2]
    assert (tmp_path / "said").read_text().splitlines() == [
        "run: online type_if=vif",
        "XENBUS_BASE_PATH=backend",
        f"XENBUS_PATH=backend/vif/{guest}/{devid}",
        "XENBUS_TYPE=vif",
        "netdev=eth9",
        f"script={path}",
        f"vif=vif{guest}.{devid}",
        f"links: lo vif{guest}.0 vif{guest}.{devid} xenbr0 ",
        "written",
        "mac: 00:16:3e:00:00:07",
    ]
    assert {place: place.exists() for place in before} == before
    assert (host.run_dir / "hotplug" / "locks" / "lock").exists()
    status = f"{answer.data['backend']}/hotplug-status"
    assert node(host, status) == "connected"
    asked = [row["label"] for row in host.trace() if str(row.get("path")).startswith("backend/")]
    assert set(asked) == {"SCRIPT", "d0"}  # and the backend itself
    (tmp_path / "said").write_text("")
    gone = detach(host, devid)
    assert gone.exit == 0
    assert (tmp_path / "said").read_text().startswith("run: offline type_if=vif\n")


@pytest.mark.interop
@needs_tools
def test_a_script_that_fails_fails_the_attach(host: LabHost, script: Write) -> None:
    """Recording 91a: its words, exit code 1, and what it left stays."""
    path = script(
        "xenstore-write $XENBUS_PATH/hotplug-error 'no good' hotplug-status error; exit 3"
    )
    answer = attach(host, f"script={path}")
    assert answer.exit == 1
    first, second, *rest = answer.err.splitlines()
    assert first.startswith(
        f"libxl: error: libxl_exec.c:117:libxl_report_child_exitstatus: {path} online ["
    )
    assert first.endswith("] exited with error status 3")
    assert second == (
        "libxl: error: libxl_device.c:1337:device_hotplug_child_death_cb: script: no good"
    )
    assert rest[-1] == "libxl_device_nic_add failed."
    backend = host.xl("network-list", "g", json=True).data[-1]["backend"]
    assert node(host, f"{backend}/hotplug-error") == "no good"
    detach(host)


@pytest.mark.parametrize("how", ["missing", "not executable", "silent"])
def test_a_script_that_says_nothing_is_explained(host: LabHost, script: Write, how: str) -> None:
    path = script("exit 1")
    if how == "missing":
        path.unlink()
    elif how == "not executable":
        path.chmod(0o644)
    answer = attach(host, f"script={path}")
    assert answer.exit == 1
    assert answer.err.endswith("libxl_device_nic_add failed.\n")
    backend = host.xl("network-list", "g", json=True).data[-1]["backend"]
    status = 1 if how == "silent" else 255
    assert node(host, f"{backend}/hotplug-error") == (
        f"{path} online ended with status {status}; see log/hotplug.log"
    )
    log = (host.run_dir / "log" / "hotplug.log").read_text()
    assert how == "silent" or str(path) in log
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    detach(host)


# -- Debian's own --------------------------------------------------------------------------------


@pytest.mark.interop
@pytest.mark.skipif(
    not (DIRECTORY / "vif-bridge").exists(), reason="xen-utils-common is not installed"
)
def test_debians_vif_bridge(host: LabHost, script: Write, tmp_path: Path) -> None:
    """The vif is in the bridge and up, with its mtu and its name."""
    answer = attach(host, "script=vif-bridge", "bridge=xenbr7", "vifname=web0", "mtu=1400")
    assert (answer.exit, answer.err) == (0, ""), answer.err
    assert node(host, f"{answer.data['backend']}/hotplug-status") == "connected"
    looks = script(
        "echo $(ls /sys/class/net/xenbr7/brif) $(cat /sys/class/net/web0/mtu)\n"
        "cat /sys/class/net/web0/flags"
    )
    second = attach(host, f"script={looks}")
    said = (tmp_path / "said").read_text().splitlines()
    assert said[0] == "web0 1400"
    assert int(said[1], 16) & 1  # IFF_UP
    assert second.exit == 0
    assert detach(host, second.data["devid"]).exit == 0
    assert detach(host, answer.data["devid"]).exit == 0
    assert "error" not in (host.run_dir / "log" / "hotplug.log").read_text()


def loops(image: Path) -> str:
    done = subprocess.run(["losetup", "-j", image], capture_output=True, text=True, check=True)
    return done.stdout


needs_loop = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/dev/loop-control"),
    reason="only root has loop devices",
)


@pytest.mark.interop
@needs_loop
@pytest.mark.skipif(not (DIRECTORY / "block").exists(), reason="xen-utils-common is not installed")
def test_debians_block(host: LabHost, tmp_path: Path) -> None:
    """An image has a loop device as long as its disk is there: until detach, destroy, or SIGKILL
    of the hypervisor."""
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    spec = f"format=raw,vdev=xvda,access=rw,script=block,target={image}"
    answer = host.xl("block-attach", "g", spec)
    assert (answer.exit, answer.err) == (0, ""), answer.err
    assert loops(image)
    backend = answer.data["backend"]
    host.wait_node(f"{backend}/state", "4")
    loop = node(host, f"{backend}/node")
    assert loop is not None
    assert loop.startswith("/dev/loop")
    minor = os.minor(os.stat(loop).st_rdev)
    assert node(host, f"{backend}/physical-device") == f"7:{minor:x}"
    assert host.xl("block-detach", "g", "xvda").exit == 0
    host.wait(lambda: not loops(image), "the loop device to go")
    with LabHost(tmp_path) as other:
        for end in ("destroy", "kill"):
            other.create(f'name="g"\n{IDLE}disk=["{spec}"]')
            assert loops(image)
            if end == "destroy":
                assert other.xl("destroy", "g").exit == 0
            else:
                other.process.send_signal(signal.SIGKILL)
            other.wait(lambda: not loops(image), f"the loop device to go after {end}")


# -- in a driver domain --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def driver(host: LabHost) -> int:
    """A driver domain with a bridge."""
    domid = host.create(
        'name="net"\nmemory=32\ndriver_domain=1', program="domains.network:main", profile="driver"
    )
    host.wait_node(f"/local/domain/{domid}/data/health", "ok")
    return domid


@pytest.mark.interop
@needs_tools
def test_a_script_of_a_driver_domain_runs_in_it(host: LabHost, driver: int, tmp_path: Path) -> None:
    """Behind its walls, with its rights; the toolstack does not wait for it (xl devd)."""
    path = tmp_path / "inside"
    path.write_text(
        "#!/bin/sh\n"
        'xenstore-write data/said "$XEN_DOMID $XENBUS_PATH $* $(grep -c : /proc/net/dev)"\n'
        "xenstore-write /local/domain/0/mine 1 2>/dev/null && exit 5\n"
        "xenstore-write $XENBUS_PATH/hotplug-status connected\n"
    )
    path.chmod(0o755)
    answer = attach(host, f"script={path}", "backend=net")
    assert (answer.exit, answer.err) == (0, ""), answer.err
    backend = answer.data["backend"]
    host.wait_node(f"{backend}/hotplug-status", "connected")
    guest, devid = backend.split("/")[-2:]
    assert node(host, f"/local/domain/{driver}/data/said") == (
        f"{driver} backend/vif/{guest}/{devid} online type_if=vif 3"
    )
    detach(host)
    host.wait(
        lambda: "offline" in (node(host, f"/local/domain/{driver}/data/said") or ""), "its end"
    )


def test_what_fails_in_a_driver_domain_is_the_devices_alone(
    host: LabHost, driver: int, script: Write
) -> None:
    """Recording 91a: xl says nothing and succeeds, the device says what is wrong."""
    path = script("exit 2")
    answer = attach(host, f"script={path}", "backend=net")
    assert (answer.exit, answer.err) == (0, ""), answer.err
    host.wait_node(f"{answer.data['backend']}/hotplug-status", "error")
    assert "ended with status" in (node(host, f"{answer.data['backend']}/hotplug-error") or "")
    detach(host)


@pytest.mark.interop
@pytest.mark.skipif(
    not (DIRECTORY / "vif-bridge").exists(), reason="xen-utils-common is not installed"
)
def test_debians_vif_bridge_in_a_driver_domain(host: LabHost, driver: int) -> None:
    """By another name, as its own name means what the domain's driver does itself."""
    answer = attach(host, "script=/etc/xen/../xen/scripts/vif-bridge", "backend=net")
    host.wait_node(f"{answer.data['backend']}/hotplug-status", "connected")
    detach(host)
