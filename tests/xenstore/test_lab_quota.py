"""[store.quota] of the lab file: in force in the lab, and named when it is too small."""

from __future__ import annotations

from pathlib import Path

from tests.support.labs import commands

LAB = """
[store.quota]
nodes = {nodes}
watches = 200

[[image]]
path = "a.img"
size = "1M"
scratch = true

[[image]]
path = "b.img"
size = "1M"
scratch = true

[[image]]
path = "c.img"
size = "1M"
scratch = true

[[domain]]
name = "storage"
role = "driver"
memory = 64
program = "domains.storage:main"

[[domain]]
name = "guest"
memory = 64
program = "domains.guests.idle:main"
disk = ["a.img,raw,xvda,w,backend=storage"]
"""


def test_a_driver_domain_out_of_nodes_is_named_with_the_remedy(tmp_path: Path) -> None:
    """Red when the lab's quota does not reach the store, and when ``quota_hint.hint`` returns
    nothing."""
    file = tmp_path / "small.toml"
    file.write_text(LAB.format(nodes=90), encoding="utf-8")
    with commands() as lab:
        lab.ok("up", "--quiet", str(file))
        rows = lab.ok("xenstore", "control", "quota").splitlines()
        assert rows[1:3] == [
            "nodes            :       90 Nodes per domain",
            "watches          :      200 Watches per domain",
        ]
        used = lab.ok("xenstore", "control", "quota", "1").splitlines()[1].split()[-1]
        lab.ok("xenstore", "control", "quota", "set", "nodes", used)
        done = lab.run("xl", "block-attach", "guest", "b.img,raw,xvdb,w,backend=storage")
        assert done.returncode == 1
        assert "unable to add device with path /local/domain/1/backend/vbd/2/51728" in done.stderr
        assert f"of the {used} nodes that it may have in xenstore" in done.stderr
        assert "nodes = N under [store.quota] in the lab file" in done.stderr
        assert "d1: store quota 'nodes'" in lab.ok("events")

        lab.ok("xenstore", "control", "quota", "set", "nodes", "200")
        lab.ok("xl", "block-attach", "guest", "c.img,raw,xvdc,w,backend=storage")
        assert lab.ok("xenstore", "control", "check") == "OK\n"
        lab.ok("down")


def test_a_wrong_quota_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(LAB.format(nodes=0).replace("watches", "watchs"), encoding="utf-8")
    with commands() as lab:
        done = lab.run("validate", str(file))
    assert done.returncode == 1
    text = done.stdout + done.stderr
    assert "wrong.toml:3: store, quota, nodes: must be at least 1, is 0" in text
    assert "wrong.toml:4: store, quota: unknown key 'watchs'; did you mean 'watches'?" in text
