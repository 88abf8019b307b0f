"""Debian's own xl in Domain-0 acts on domains of a lab, and hvsim's knows what it did."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import optional
from tests.support.dom0_lab import Dom0, dom0_lab
from tests.support.waits import wait

pytestmark = pytest.mark.interop
TIMEOUT = 30.0


@pytest.fixture(scope="module")
def dom0(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dom0]:
    """A lab of this module's own: domains die in it, and are made anew."""
    with dom0_lab(tmp_path_factory.mktemp("xl")) as lab:
        yield lab


@pytest.fixture
def xl(dom0: Dom0) -> Callable[..., str]:
    """The real xl; skips the test where it is not installed."""
    optional.program("xl")
    return lambda *words: dom0.ok("xl", *words)


@pytest.fixture
def image(dom0: Dom0) -> Iterator[Path]:
    """One more image, which dom0 serves."""
    path = dom0.folder / "b.img"
    with path.open("wb") as file:
        file.truncate(1 << 20)
    yield path
    path.unlink()


def spec(image: Path, vdev: str = "xvdb") -> str:
    return f"format=raw,vdev={vdev},access=rw,target={image}"


def kept(dom0: Dom0, name: str = "g") -> dict[str, Any]:
    """What the real xl says of a domain's config.

    It leaves a device that it has detached in its record, and complains of that later.
    """
    status, output, errors = dom0.run("xl", "list", "-l", name)
    assert (status, re.sub(r"libxl: warning: .* not in xenstore, ignored\n", "", errors)) == (0, "")
    (found,) = json.loads(output)
    config: dict[str, Any] = found["config"]
    return config


def vdevs(dom0: Dom0) -> list[str]:
    return [disk["vdev"] for disk in kept(dom0).get("disks", [])]


def devices(dom0: Dom0, name: str = "g") -> dict[str, tuple[str, int, int]]:
    """What `hvsim ps` says of a domain's devices: backend, and both states."""
    rows = dom0.lab.json("ps")["domains"]
    (domain,) = (row for row in rows if row["name"] == name)
    return {
        row["vdev"]: (row["backend"], row["frontend_state"], row["backend_state"])
        for row in domain["devices"]
    }


def test_list_l_is_that_of_a_real_host(dom0: Dom0, xl: Callable[..., str]) -> None:
    """Key by key as recording 31 has them, with the values of this guest.

    Red without libxl-json (it says that it fails, and shows an empty list), and without
    scheduler_op (the domains are left out).
    """
    dom0_config, _, guest = (entry["config"] for entry in json.loads(xl("list", "-l")))
    uuid = dom0.lab.json("xl", "list")[2]["uuid"]
    sched = {"sched": "credit2", "weight": 256, "cap": 0}
    assert guest == {
        "c_info": {
            "type": "pv",
            "name": "g",
            "domid": 0xFFFFFFFF,
            "uuid": uuid,
            "run_hotplug_scripts": "True",
        },
        "b_info": {
            "max_vcpus": 1,
            "avail_vcpus": [0],
            "max_memkb": 65536,
            "target_memkb": 65536,
            "video_memkb": 0,
            "sched_params": sched,
            "claim_mode": "True",
            "kernel": "domains.guests.idle:main",
            "type.pv": {},
            "arch_arm": {},
            "arch_x86": {"msr_relaxed": "False"},
        },
        "disks": [
            {
                "backend_domid": 1,
                "pdev_path": str(dom0.lab.base / "dom0/images/a.img"),
                "vdev": "xvda",
                "format": "raw",
                "readwrite": 1,
                "colo_restore_enable": "False",
            }
        ],
        "on_reboot": "restart",
        "on_soft_reset": "soft_reset",
    }
    assert list(guest["b_info"]) == [
        *("max_vcpus", "avail_vcpus", "max_memkb", "target_memkb", "video_memkb"),
        *("sched_params", "claim_mode", "kernel", "type.pv", "arch_arm", "arch_x86"),
    ]
    assert dom0_config["c_info"] == {"type": "pv", "name": "Domain-0"}
    assert dom0_config["b_info"]["sched_params"] == sched


def test_a_disk_attached_by_one_is_detached_by_the_other(
    dom0: Dom0, xl: Callable[..., str], image: Path
) -> None:
    """Red without the lab's own hotplug script (the disk stays in InitWait), and without
    ``attached.refresh`` in the detach (our own xl leaves xvdb in libxl's record)."""
    xl("block-attach", "g", spec(image))
    wait(lambda: devices(dom0).get("xvdb") == ("Domain-0", 4, 4), "xvdb")
    assert xl("block-list", "g") == dom0.lab.ok("xl", "block-list", "g")
    dom0.lab.ok("xl", "block-detach", "g", "xvdb")
    assert (vdevs(dom0), list(devices(dom0))) == (["xvda"], ["xvda"])

    dom0.lab.ok("xl", "block-attach", "g", spec(image))
    assert vdevs(dom0) == ["xvda", "xvdb"]
    xl("block-detach", "g", "xvdb")
    assert (vdevs(dom0), list(devices(dom0))) == (["xvda"], ["xvda"])
    assert xl("block-list", "g") == dom0.lab.ok("xl", "block-list", "g")


def test_a_disk_of_a_driver_domain(dom0: Dom0, xl: Callable[..., str]) -> None:
    """It is there again when the driver domain has died, and can be detached.

    Red without ``attached.refresh`` in ``rebuild`` (xvdc stays with the dead domain), and without
    ``devd.serve`` in the storage domain: libxl waits until that has removed the backend.
    """
    target = dom0.lab.base / "dom0/images/a.img"
    words = f"format=raw,vdev=xvdc,access=ro,backend=storage,target={target}"
    xl("block-attach", "g", words)
    wait(lambda: devices(dom0).get("xvdc") == ("storage", 4, 4), "xvdc")
    before = dom0.lab.json("xl", "domid", "storage")
    dom0.lab.ok("fault", "kill", "storage")

    def moved() -> bool:
        now = dom0.lab.run("xl", "domid", "storage", "--json")
        if now.returncode or json.loads(now.stdout) == before:
            return False
        return set(devices(dom0).values()) == {("storage", 4, 4)}

    wait(moved, "both disks on the new storage domain")
    assert vdevs(dom0) == ["xvda", "xvdc"]
    xl("block-detach", "g", "xvdc")
    assert list(devices(dom0)) == ["xvda"]


def test_a_script_that_fails_is_told_of(dom0: Dom0, xl: Callable[..., str]) -> None:
    """A disk whose image is not there: libxl's words, exit code 1, and nothing is left."""
    status, _, errors = dom0.run("xl", "block-attach", "g", spec(Path("/none")))
    assert status == 1
    assert "failed to stat: /none: No such file or directory" in errors
    assert vdevs(dom0) == ["xvda"]


def test_an_interface_of_dom0(dom0: Dom0, xl: Callable[..., str]) -> None:
    """The guest has no network stack, so its half stays where it is; it goes with the guest."""
    config = dom0.folder / "wired.cfg"
    config.write_text('name = "wired"\nmemory = 16\nprogram = "domains.guests.idle:main"\n')
    dom0.lab.ok("xl", "create", str(config))
    xl("network-attach", "wired", "bridge=xenbr0", "mac=00:16:3e:00:00:07")
    (nic,) = kept(dom0, "wired")["nics"]
    assert (nic["devid"], nic["mac"], nic["bridge"]) == (0, "00:16:3e:00:00:07", "xenbr0")
    assert devices(dom0, "wired")["eth0"] == ("Domain-0", 1, 2)
    theirs = xl("network-list", "wired").splitlines()[1]
    assert theirs.split()[:3] == ["0", "0", nic["mac"]]
    ours = dom0.lab.ok("xl", "network-list", "wired").splitlines()[1]
    assert theirs.split() == ours.split()
    xl("destroy", "wired")


def test_another_name_stays_over_a_reboot_and_so_does_a_disk(
    dom0: Dom0, xl: Callable[..., str], image: Path
) -> None:
    """As with the real xl, which reads the config of the domain anew.

    Red when the guest is made from what it was made from at first (``create`` in lifecycle.py).
    """
    domid = int(xl("domid", "g"))
    xl("rename", "g", "other")
    try:
        assert dom0.lab.ok("xl", "domname", str(domid)) == "other\n"
        xl("block-attach", "other", spec(image))
        assert dom0.run("xl", "reboot", "other") == (0, "", f"Rebooting domain {domid}\n")

        def rebooted() -> bool:
            rows = dom0.lab.json("ps")["domains"]
            return any(row["name"] == "other" and row["domid"] > domid for row in rows) and set(
                devices(dom0, "other")
            ) == {"xvda", "xvdb"}

        wait(rebooted, "the reboot")
        assert kept(dom0, "other")["c_info"]["name"] == "other"
        xl("block-detach", "other", "xvdb")
    finally:
        xl("rename", "other", "g")


def test_pause_and_unpause(dom0: Dom0, xl: Callable[..., str]) -> None:
    xl("pause", "g")
    try:
        assert "--p---" in dom0.lab.ok("xl", "list", "g")
    finally:
        xl("unpause", "g")


def test_a_vcpu_is_pinned(dom0: Dom0, xl: Callable[..., str]) -> None:
    """Its process runs there and nowhere else, and both say so.

    Red when ``Lifecycle.place`` does nothing (the mask is told, and /proc says otherwise).
    """
    count = int(re.findall(r"nr_cpus +: (\d+)", xl("info"))[0])
    if count < 2:
        pytest.skip("one CPU: there is nothing to be chosen")
    rows = dom0.lab.json("ps")["domains"]
    pid = next(row["pid"] for row in rows if row["name"] == "g")

    def allowed() -> str:
        text = Path(f"/proc/{pid}/status").read_text()
        return str(re.findall(r"Cpus_allowed_list:\s+(.*)", text)[0])

    before = allowed()
    status, _, _ = dom0.run("xl", "vcpu-pin", "g", "0", "1", "0")
    try:
        assert status == 0
        for text in (xl("vcpu-list", "g"), dom0.lab.ok("xl", "vcpu-list", "g")):
            assert text.splitlines()[1].endswith("1 / 0")
        assert allowed() != before
    finally:
        xl("vcpu-pin", "g", "0", "all", "all")
    assert allowed() == before
    status, _, errors = dom0.run("xl", "vcpu-pin", "g", "0", str(count + 5))
    assert status == 1
    assert errors


def test_weights_are_refused_and_not_forgotten(dom0: Dom0, xl: Callable[..., str]) -> None:
    """A success without effect would be worse."""
    status, _, errors = dom0.run("xl", "sched-credit2", "-d", "g", "-w", "512")
    assert (status, "Operation not supported" in errors) == (1, True)
    assert xl("sched-credit2", "-d", "g").splitlines()[1].split()[2:] == ["256", "0"]


def test_the_limit_of_memory(dom0: Dom0, xl: Callable[..., str]) -> None:
    """libxl adds a MiB."""
    xl("mem-max", "g", "80")
    assert kept(dom0)["b_info"]["max_memkb"] == 80 * 1024
    xl("mem-max", "g", "64")
    assert kept(dom0)["b_info"]["max_memkb"] == 64 * 1024


def test_debug_keys_print_to_the_console(dom0: Dom0, xl: Callable[..., str]) -> None:
    """The form is that of the recordings; what is asked for is there when the command ends.

    Red when the call is answered before the dump has ended.
    """
    xl("dmesg", "-c")
    xl("debug-keys", "e")
    xl("debug-keys", "g")
    text = dom0.lab.ok("xl", "dmesg")
    lines = text.splitlines()
    assert lines[0] == "(XEN) 'e' pressed -> dumping event-channel info"
    assert lines[-1] == "(XEN) gnttab_usage_print_all ] done"
    port = re.compile(r"\(XEN\) {6,9}\d+ \[[01]/[01]/  -   \]: s=[235] n=0 x=0( [dv]=\d+)( p=\d+)?")
    ports = [line for line in lines if "]: s=" in line]
    assert len(ports) > 8
    assert all(port.fullmatch(line) for line in ports)
    grant = re.compile(
        r"\(XEN\) \[0x[0-9a-f]{3}\] {2,6}\d+ 0x[0-9a-f]{6,} 0x[0-9a-f]{8} {6,10}\d+ "
        r"0x[0-9a-f]{6,} 0x[0-9a-f]{2}"
    )
    grants = [line for line in lines if line.startswith("(XEN) [0x")]
    assert len(grants) >= 4
    assert all(grant.fullmatch(line) for line in grants)
    status, _, errors = dom0.run("xl", "debug-keys", "z")
    assert (status, "Operation not supported" in errors) == (1, True)


def test_an_nmi_makes_a_domain_say_where_it_is(dom0: Dom0, xl: Callable[..., str]) -> None:
    """Red when the signal is not listened to; a domain that died of it would be another failure."""
    xl("trigger", "g", "nmi")
    # Another name had another log.
    logs = [dom0.lab.base / f"dom0/console/{name}.log" for name in ("g", "other")]

    def said() -> str:
        return "".join(log.read_text() for log in logs if log.exists())

    wait(lambda: "Dazed and confused" in said(), "the domain's answer")
    assert "in main" in said()
    for trigger, words in (("reset", "Function not implemented"), ("power", "Invalid argument")):
        _, _, errors = dom0.run("xl", "trigger", "g", trigger)
        assert words in errors


def test_create_n_understands_a_config(dom0: Dom0, xl: Callable[..., str]) -> None:
    config = dom0.folder / "n.cfg"
    config.write_text('name = "n"\nkernel = "/k"\nmemory = 64\n', encoding="utf-8")
    status, output, errors = dom0.run("xl", "create", "-n", "-d", str(config))
    assert (status, errors) == (0, f"Parsing config from {config}\n")
    assert '"target_memkb": 65536' in output


def test_what_it_cannot_do_it_refuses(dom0: Dom0, xl: Callable[..., str]) -> None:
    """And names the true cause; the guest goes on."""
    config = dom0.folder / "r.cfg"
    kernel = Path(optional.xen_program("xl")).parents[1] / "boot/xen-shim"  # of the same package
    config.write_text(f'name = "r"\nkernel = "{kernel}"\nmemory = 32\n', encoding="utf-8")
    for words, status, said in (
        (("create", str(config)), 3, "domain creation fail: Function not implemented"),
        (("save", "g", str(dom0.folder / "g.save")), 1, "Save failed (38 = Function not"),
        (("dump-core", "g", str(dom0.folder / "core")), 1, "Function not implemented"),
    ):
        code, _, errors = dom0.run("xl", *words)
        assert (code, said in errors) == (status, True), errors
    assert "vNUMA" not in dom0.run("xl", "save", "g", str(dom0.folder / "g.save"))[2]
    assert list(devices(dom0)) == ["xvda"]


def test_destroy_leaves_nothing(dom0: Dom0, xl: Callable[..., str]) -> None:
    """Of a domain that our own toolstack made, and which it forgets."""
    config = dom0.folder / "gone.cfg"
    config.write_text('name = "gone"\nmemory = 16\nprogram = "domains.guests.idle:main"\n')
    dom0.lab.ok("xl", "create", str(config))
    domid = xl("domid", "gone").strip()
    xl("destroy", "gone")
    wait(lambda: all(row["name"] != "gone" for row in dom0.lab.json("ps")["domains"]), "its end")
    assert not list((dom0.place / "var/lib/xen").glob(f"userdata-?.{domid}.*"))
    assert dom0.lab.run("xenstore", "read", f"/libxl/{domid}").returncode
