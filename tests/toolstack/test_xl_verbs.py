"""What xl's words do: options of create, dry runs, requests to a guest, and guests that are gone.

Seen red, each by itself: with options that are read and not looked at; with a toolstack that waits
30 s and says so in its own words; with a mini-OS that leaves control/sysrq as it is.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.lab.answers import Answer
from hvsim.lab.control import Control
from hvsim.wire.control import Xl
from tests.support.lab_host import TIMEOUT, LabHost

IDLE = 'program="domains.guests.idle:main"\nmemory=32\n'


IMPATIENT = "tests.toolstack.impatient:main"
"""A toolstack whose guests have 0.3 s to acknowledge a request."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    with LabHost(tmp_path_factory.mktemp("verbs"), toolstack=IMPATIENT) as lab:
        yield lab


@pytest.fixture
def guest(host: LabHost) -> Iterator[int]:
    """A guest named g."""
    domid = host.create(f'name="g"\n{IDLE}')
    host.wait_node(f"/local/domain/{domid}/data/health", "ok")
    yield domid
    host.xl("destroy", str(domid))


@pytest.fixture
def config(host: LabHost, tmp_path: Path) -> Iterator[Path]:
    """The config of a domain named made, which is gone afterwards."""
    path = tmp_path / "made.cfg"
    path.write_text(f'name="made"\n{IDLE}')
    yield path
    host.xl("destroy", "made")


def console(host: LabHost, name: str) -> str:
    """What a guest has said."""
    return "".join(
        path.read_text(errors="replace") for path in (host.run_dir / "console").glob(f"*{name}*")
    )


def names(host: LabHost) -> list[str]:
    return [row["config"]["c_info"]["name"] for row in host.xl("list", "-l").data]


# -- requests to a guest -------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["shutdown", "reboot"])
def test_a_request_that_is_not_acknowledged_ends_in_libxls_two_lines(
    host: LabHost, guest: int, verb: str
) -> None:
    assert host.xl("pause", "g").exit == 0
    answer = host.xl(verb, "g")
    assert (answer.exit, answer.err.splitlines()[1:]) == (
        1,
        [
            "libxl: error: libxl_domain.c:854:pvcontrol_cb: guest didn't acknowledge control "
            "request: -9",
            f"{verb} failed (rc=-9)",
        ],
    )


def test_sysrq_is_acknowledged_and_acted_upon(host: LabHost, guest: int) -> None:
    """Recording 48."""
    node = f"/local/domain/{guest}/control/sysrq"
    for letter, said in (("h", "sysrq: HELP : "), ("t", "sysrq: Show State")):
        assert host.xl("sysrq", "g", letter).exit == 0
        host.wait(lambda said=said: said in console(host, "g"), said)  # type: ignore[misc]
        host.wait_node(node, "")


def test_suspend_is_acknowledged_and_the_guest_goes_on(host: LabHost, guest: int) -> None:
    node = f"/local/domain/{guest}/control/shutdown"
    with host.store() as store:
        store.write(node, "suspend")
    host.wait_node(node, "")
    host.wait(lambda: "cannot suspend" in console(host, "g"), "its word about it")
    assert host.xl("sysrq", "g", "h").exit == 0
    host.wait_node(f"/local/domain/{guest}/control/sysrq", "")


def test_a_crashed_guest_in_the_lists(host: LabHost, config: Path) -> None:
    """Recording 63: unpause says why not, vcpu-list shows neither running nor blocked."""
    config.write_text(config.read_text() + 'on_crash="preserve"\n')
    made = host.xl("create", str(config))
    domid = made.data["domid"]
    host.wait_node(f"/local/domain/{domid}/data/health", "ok")
    assert host.xl("sysrq", "made", "c").exit == 0
    host.wait(lambda: "---sc-" in host.xl("list", "made").out, "the crash")
    assert re.search(r" +0 +\d+ +--- +\d+\.\d ", host.xl("vcpu-list", "made").out)
    answer = host.xl("unpause", "made")
    assert (answer.exit, answer.err) == (
        0,
        f"libxl: error: libxl_domain.c:688:domain_unpause_done: Domain {domid}:Unpausing domain: "
        "Invalid argument\n",
    )


# -- dry runs ------------------------------------------------------------------------------------


def test_a_dry_run_prints_and_does_nothing(host: LabHost, guest: int, config: Path) -> None:
    before = host.trace_path.read_text().count('"WRITE"')
    for argv in (["-N", "create", str(config)], ["create", "-n", str(config)]):
        answer = host.xl(*argv)
        assert answer.exit == 0
        text = answer.out.removeprefix(f"Parsing config from {config}\n")
        assert json.loads(text)["c_info"]["name"] == "made"
    answer = host.xl("-N", "network-attach", "g", "mac=00:16:3e:00:00:01")
    assert (answer.exit, answer.out[:5]) == (0, "vif: ")
    assert json.loads(answer.out[5:])["mac"] == "00:16:3e:00:00:01"
    answer = host.xl("-N", "block-attach", "g", f"format=raw,vdev=xvdz,target={config}")
    assert (answer.exit, answer.out[:6]) == (0, "disk: ")
    assert json.loads(answer.out[6:])["vdev"] == "xvdz"
    assert names(host) == ["Domain-0", "g"]
    assert host.trace_path.read_text().count('"WRITE"') == before


def test_a_verb_without_a_dry_run_refuses_one(host: LabHost, guest: int) -> None:
    answer = host.xl("-N", "destroy", "g")
    assert (answer.exit, answer.err) == (
        1,
        "command does not implement -N (dryrun) option\n",
    )
    assert host.xl("domid", "g").out == f"{guest}\n"


# -- create --------------------------------------------------------------------------------------


def made(host: LabHost, config: Path, *options: str) -> Answer:
    answer = host.xl("create", *options, str(config))
    assert answer.exit == 0, answer
    return answer


def test_options_of_create(host: LabHost, config: Path) -> None:
    loud = made(host, config, "-d")
    assert loud.out == f"Parsing config from {config}\n"
    assert json.loads(loud.err)["c_info"]["name"] == "made"
    host.xl("destroy", "made")
    quiet = made(host, config, "-qpe")
    assert (quiet.out, quiet.err) == ("", "")
    assert "--p---" in host.xl("list", "made").out
    host.xl("destroy", "made")
    attached = made(host, config, "-c")
    assert attached.data["attach"]
    with host.store() as store:
        domid = attached.data["domid"]
        assert store.read(f"/local/domain/{domid}/console/tty") == attached.data["tty"]
    host.xl("destroy", "made")
    viewed = made(host, config, "-V")
    assert "libxl_vncviewer_exec: Domain" in viewed.err
    assert viewed.err.endswith("Cannot get vnc-port\n")


class Foreground:
    """``xl create -F`` in a thread."""

    def __init__(self, host: LabHost, config: Path) -> None:
        self.said: list[str] = []
        self.answer: Answer | None = None
        self._control = Control(host.run_dir / "control")
        self._words = ["create", "-F", str(config)]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.answer = self._control.request(
            Xl(self._words), patience=TIMEOUT, out=self.said.append, err=self.said.append,
        )  # fmt: skip

    @property
    def lines(self) -> list[str]:
        return "".join(self.said).splitlines()

    def close(self) -> None:
        """Wait for its end."""
        self.thread.join(TIMEOUT)
        assert not self.thread.is_alive()
        self._control.close()


def test_in_the_foreground_create_follows_its_domain_to_the_end(
    host: LabHost, config: Path
) -> None:
    """Through a reboot, too; every line as xl's own log has it (recordings 60, 62)."""
    config.write_text(config.read_text() + 'on_reboot="restart"\n')
    create = Foreground(host, config)
    host.wait(lambda: any("Waiting for domain" in line for line in create.lines), "the wait")
    host.wait(lambda: "made" in names(host), "the domain")
    first = host.xl("domid", "made").out.strip()
    host.wait_node(f"/local/domain/{first}/data/health", "ok")
    assert host.xl("reboot", "made").exit == 0
    host.wait(lambda: sum("Waiting" in line for line in create.lines) == 2, "the second")
    second = host.xl("domid", "made").out.strip()
    host.wait_node(f"/local/domain/{second}/data/health", "ok")
    assert create.thread.is_alive()
    assert host.xl("shutdown", "made").exit == 0
    create.close()
    assert create.answer is not None
    assert create.answer.exit == 0
    alike = [re.sub(r"0x[0-9a-f]+|\d+", "N", line) for line in create.lines[1:]]
    assert alike == [
        "Waiting for domain made (domid N) to die [pid N]",
        "Domain N has shut down, reason code N N",
        "Action for shutdown reason code N is restart",
        "Domain N needs to be cleaned up: destroying the domain",
        "Done. Rebooting now",
        "Waiting for domain made (domid N) to die [pid N]",
        "Domain N has shut down, reason code N N",
        "Action for shutdown reason code N is destroy",
        "Domain N needs to be cleaned up: destroying the domain",
        "Done. Exiting now",
    ]


def test_a_domain_that_nobody_waits_for_stays_when_it_ends(host: LabHost, config: Path) -> None:
    """``-e``: no xl is there to clean up."""
    domid = made(host, config, "-e").data["domid"]
    host.wait_node(f"/local/domain/{domid}/data/health", "ok")
    assert host.xl("shutdown", "-w", "made").exit == 0
    time.sleep(0.2)
    assert "---s--" in host.xl("list", "made").out


# -- devices of a guest that does not let go -----------------------------------------------------


def test_a_vif_is_taken_from_a_guest_that_does_not_let_go(host: LabHost, guest: int) -> None:
    """libxl_device_nic_remove is patient once (LIBXL__FORCE_AUTO)."""
    attached = host.xl("network-attach", "g")
    answer = host.xl("network-detach", "g", "0")
    assert (answer.exit, answer.err) == (0, "")
    with host.store() as store:
        assert not store.exists(attached.data["backend"])
        assert not store.exists(f"/libxl/{guest}/device/vif")


def test_a_disk_is_not_unless_it_is_to_be(host: LabHost, guest: int, tmp_path: Path) -> None:
    """libxl_device_disk_safe_remove gives up; ``-f`` is libxl_device_disk_destroy."""
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    attached = host.xl("block-attach", "g", f"{image},raw,xvda,w")
    host.wait_node(f"{attached.data['backend']}/state", "4")
    assert host.xl("pause", "g").exit == 0
    answer = host.xl("block-detach", "g", "xvda")
    assert answer.exit == 1
    assert answer.err.endswith(
        f"unable to remove device with path {attached.data['backend']}\n"
        f"libxl: error: libxl_device.c:1481:device_addrm_aocomplete: Domain {guest}:Unable to "
        "remove vbd with id 51712\nlibxl: info: g (domain "
        f"{guest}) is paused; `hvsim xl unpause g` lets it go on\n"
        "libxl_device_disk_safe_remove failed.\n"
    )
    answer = host.xl("block-detach", "-f", "g", "xvda")
    assert (answer.exit, answer.err) == (0, "")
    with host.store() as store:
        assert not store.exists(attached.data["backend"])


def test_a_script_that_does_not_end_is_ended(host: LabHost, guest: int, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 600\n")
    script.chmod(0o755)
    answer = host.xl("network-attach", "g", f"script={script}")
    assert answer.exit == 1
    assert answer.err.startswith(
        "libxl: error: libxl_aoutils.c:539:async_exec_timeout: killing execution of "
        f"{script} online because of timeout\n"
    )
    pid = (tmp_path / "pid").read_text().strip()
    host.wait(lambda: not Path(f"/proc/{pid}").exists(), "the script to be killed")


# -- words ---------------------------------------------------------------------------------------


def test_a_verb_may_be_shortened(host: LabHost, guest: int) -> None:
    assert host.xl("domi", "g").out == f"{guest}\n"
    assert host.xl("vcpu-l", "g").exit == 0
    for unclear in ("s", "sh", "network"):
        assert host.xl(unclear, "g").err == "command not implemented\n"


def test_one_word_with_commas_is_several(host: LabHost, guest: int) -> None:
    """Ours: there only the first part of the word is taken, and the vif has no model (surprise
    44)."""
    answer = host.xl("network-attach", "g", "mac=00:16:3e:00:00:02,rate=1Mb/s,vifname=named")
    assert answer.exit == 0, answer
    with host.store() as store:
        backend = answer.data["backend"]
        found = store.read_many([f"{backend}/{key}" for key in ("mac", "rate", "vifname")])
    assert found[0] == "00:16:3e:00:00:02"
    assert found[1]
    assert found[2] == "named"


def test_the_guest_can_be_renamed(host: LabHost, guest: int) -> None:
    assert host.xl("rename", "g", "h").exit == 0
    assert host.xl("domid", "h").out == f"{guest}\n"
    assert names(host) == ["Domain-0", "h"]


def test_memory_is_what_was_set(host: LabHost, guest: int) -> None:
    assert host.xl("mem-set", "g", "16m").exit == 0
    with host.store() as store:
        assert store.read(f"/local/domain/{guest}/memory/target") == str(16 << 10)
