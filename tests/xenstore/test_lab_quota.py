"""[store.quota] of the lab file: in force in the lab, and named when it is too small."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.lab_host import TIMEOUT, LabHost
from tests.support.labs import commands
from tests.toolstack import hasty

LAB = """
[store.quota]
nodes = {nodes}
watches = 200

[[domain]]
name = "guest"
memory = 64
program = "domains.guests.idle:main"
"""
STORAGE = 'name="storage"\ndriver_domain=1\nmemory=64'
GUEST = 'name="guest"\nmemory=64\ndisk=["{}"]'


def test_the_lab_s_quota_is_that_of_its_store(tmp_path: Path) -> None:
    """Red when the lab's quota does not reach the store."""
    file = tmp_path / "small.toml"
    file.write_text(LAB.format(nodes=90), encoding="utf-8")
    with commands() as lab:
        lab.ok("up", "--quiet", str(file))
        rows = lab.ok("xenstore", "control", "quota").splitlines()
        assert rows[1:3] == [
            "nodes            :       90 Nodes per domain",
            "watches          :      200 Watches per domain",
        ]
        lab.ok("down")


def test_a_driver_domain_out_of_nodes_is_named_with_the_remedy(tmp_path: Path) -> None:
    """Red when ``quota_hint.hint`` returns nothing."""
    for name in "abc":
        (tmp_path / f"{name}.img").write_bytes(bytes(1 << 20))

    def disk(name: str, vdev: str) -> str:
        return f"{tmp_path}/{name}.img,raw,{vdev},w,backend=storage"

    with LabHost(tmp_path, toolstack=hasty.PROGRAM) as host, host.store() as store:
        storage = host.create(STORAGE, program="domains.storage:main", profile="driver")
        guest = host.create(GUEST.format(disk("a", "xvda")), program="domains.guests.idle:main")
        host.wait_node(f"/local/domain/{guest}/device/vbd/51712/state", "4")
        used = store.control("quota", str(storage)).splitlines()[1].split()[-1]
        store.control("quota", "set", "nodes", used)
        with ThreadPoolExecutor() as pool:
            attach = pool.submit(host.xl, "block-attach", "guest", disk("b", "xvdb"))
            hasty.wait_out(host, "to reach InitWait", 10.0)
            answer = attach.result(TIMEOUT)
        assert answer.exit == 1
        path = f"/local/domain/{storage}/backend/vbd/{guest}/51728"
        assert f"unable to add device with path {path}" in answer.err
        assert f"of the {used} nodes that it may have in xenstore" in answer.err
        assert "nodes = N under [store.quota] in the lab file" in answer.err
        assert f"d{storage}: store quota 'nodes'" in host.xl("dmesg").out

        store.control("quota", "set", "nodes", "200")
        answer = host.xl("block-attach", "guest", disk("c", "xvdc"))
        assert answer.exit == 0, answer
        assert store.control("check").strip() == "OK"


def test_a_wrong_quota_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(LAB.format(nodes=0).replace("watches", "watchs"), encoding="utf-8")
    with commands() as lab:
        done = lab.run("validate", str(file))
    assert done.returncode == 1
    text = done.stdout + done.stderr
    assert "wrong.toml:3: store, quota, nodes: must be at least 1, is 0" in text
    assert "wrong.toml:4: store, quota: unknown key 'watchs'; did you mean 'watches'?" in text
