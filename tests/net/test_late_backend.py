"""A network domain that is paused: what xl says after its ten seconds, and what stays.

(One that stands still by a fault is named at once: tests/observe/test_incidents.py.)"""

import subprocess
from pathlib import Path

from tests.net.tcplab import tcp_lab
from tests.support.labs import Commands, commands

WHERE = "libxl: error: libxl_device.c"
ATTACH = ("xl", "network-attach", "near", "bridge=xenbr0", "backend=network")


def begin(made: Commands, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        made.argv(*words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=made.environment,
    )


def test_a_late_backend_is_waited_for_and_named(tmp_path: Path) -> None:
    """Both commands end with libxl's texts, who it was, and exit code 1; when the backend goes on,
    what they left can be detached.  Red when the wait for InitWait or for Closed has no end."""
    with commands() as made, tcp_lab(tmp_path, made):
        rows = {row["name"]: row["domid"] for row in made.json("ps")["domains"]}
        near, network = rows["near"], rows["network"]
        back = f"/local/domain/{network}/backend/vif/{near}"
        made.ok(*ATTACH)
        made.ok("xl", "pause", "network")
        paused = f"network (domain {network}) is paused; `hvsim xl unpause network` lets it go on"
        detach, attach = begin(made, "xl", "network-detach", "near", "1"), begin(made, *ATTACH)
        said = [process.communicate(timeout=60)[1].splitlines() for process in (detach, attach)]
        assert (detach.returncode, attach.returncode) == (1, 1)
        assert said[0] == [
            f"{WHERE}:1181:device_backend_callback: Domain {near}:unable to remove device with "
            f"path {back}/1",
            f"{WHERE}:1481:device_addrm_aocomplete: Domain {near}:Unable to remove vif with id 1",
            f"libxl: info: {paused}",
            "libxl_device_nic_del failed.",
        ]
        assert said[1] == [
            f"{WHERE}:1109:device_backend_callback: Domain {near}:unable to add device with "
            f"path {back}/2",
            f"libxl: info: waited 10 s for the backend of vif 2 of domain {near} in network "
            f"(domain {network}) to reach InitWait: {paused}",
            f"{WHERE}:1481:device_addrm_aocomplete: Domain {near}:Unable to add vif with id 2",
            "libxl_device_nic_add failed.",
        ]
        listed = made.json("xl", "network-list", "near")
        assert [row["devid"] for row in listed] == [0, 1, 2]
        made.ok("xl", "unpause", "network")
        for number in ("1", "2"):
            made.ok("xl", "network-detach", "near", number)
        assert [row["devid"] for row in made.json("xl", "network-list", "near")] == [0]
