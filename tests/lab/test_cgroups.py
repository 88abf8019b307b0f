"""Cgroups of a lab: where they can be made, what they bound, and that none is left behind.

On a machine that allows none, WALLS says so for whoever would need one.
"""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.hypervisor.cgroups import ROOM
from hvsim.lab import cgroups
from hvsim.spawn.sandbox.cgroup import KERNEL_MEMORY, WHY
from tests.support.labs import Commands, commands

MIB = 1 << 20
LAB = """
[lab]
name = "groups"

[[domain]]
name = "plain"
memory = 16
program = "domains.guests.idle:main"

[[domain]]
name = "host"
memory = 16
program = { exec = ["/bin/sleep", "1000"] }
"""
LIMIT = 2 * 16 * MIB + ROOM["program"]
HOARD = """
import mmap, sys
print("begins", flush=True)
area = mmap.mmap(-1, int(sys.argv[1]), mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
for at in range(0, len(area), 4096):
    area[at] = 1
print("has it all", flush=True)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    file = tmp_path_factory.mktemp("lab") / "groups.toml"
    file.write_text(LAB)
    with commands() as made:
        made.ok("up", "--quiet", str(file))
        yield made
        groups = recorded(made)
        assert "nothing of it is left" in made.ok("down", "groups")
        assert [path for path in groups if path.exists()] == []


def recorded(lab: Commands) -> list[Path]:
    """The cgroups of the lab; empty where none can be made."""
    paths = json.loads((lab.base / "groups" / "lab.json").read_text())["cgroups"]
    assert all(os.path.exists(path) for path in paths)
    return [Path(path) for path in paths]


def test_domains_are_in_cgroups_of_their_own_or_walls_say_so(lab: Commands) -> None:
    """A guest of ours needs none; a program is uncounted without one."""
    rows = {row["name"]: row for row in lab.json("ps")["domains"]}
    assert rows["plain"]["walls"] == []
    groups = recorded(lab)
    if not groups:
        assert rows["host"]["walls"] == [f"{KERNEL_MEMORY}: {WHY}"]
        return
    assert rows["host"]["walls"] == []
    for name in ("plain", "host"):
        membership = Path(f"/proc/{rows[name]['pid']}/cgroup").read_text()
        assert f"/d{rows[name]['domid']}\n" in membership
    limits = [*Path(groups[0]).glob("d*/memory.max"), *groups[0].glob("d*/memory.limit_in_bytes")]
    assert LIMIT in {int(file.read_text()) for file in limits}


@pytest.mark.parametrize("name", ["host", "plain"])
def test_programs_of_a_domain_have_a_bound_together(lab: Commands, name: str) -> None:
    """Red without the cgroup: it has it all.  The domain and the others go on."""
    if not recorded(lab):
        pytest.skip("no memory cgroup can be made here (see `hvsim ps`)")
    done = lab.run("exec", name, "--", "python3", "-c", HOARD, str(LIMIT + 64 * MIB))
    assert done.stdout == "begins\n"
    assert done.returncode == 128 + signal.SIGKILL, done.stderr
    assert lab.ok("exec", name, "--", "python3", "-c", HOARD, str(64 * MIB)).count("\n") == 2
    states = {row["name"]: row["state"] for row in lab.json("ps")["domains"]}
    assert all("c" not in states[one] for one in ("host", "plain"))


def test_nothing_is_left_of_a_lab_whose_hypervisor_was_killed(tmp_path: Path) -> None:
    """Red when `release` does not remove what the record names."""
    file = tmp_path / "groups.toml"
    file.write_text(LAB)
    with commands() as made:
        made.ok("up", "--quiet", str(file))
        record = json.loads((made.base / "groups" / "lab.json").read_text())
        pidfd = os.pidfd_open(record["hypervisor"]["pid"])
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        left = recorded(made)
        made.ok("down", "groups")
        assert [path for path in left if path.exists()] == []


# -- where ---------------------------------------------------------------------------------------


def tell(proc: Path, mounts: list[str], memberships: list[str]) -> None:
    proc.mkdir()
    (proc / "mountinfo").write_text("".join(f"{line}\n" for line in mounts))
    (proc / "cgroup").write_text("".join(f"{line}\n" for line in memberships))


def test_in_one_tree_below_the_nearest_that_passes_both_controllers_on(tmp_path: Path) -> None:
    """As under systemd: the session's own scope passes nothing on, the user's slice does."""
    tree = tmp_path / "cgroup"
    slice_ = tree / "user.slice" / "app.slice"
    scope = slice_ / "some.scope"
    scope.mkdir(parents=True)
    for path, passed_on in ((scope, ""), (slice_, "cpu memory pids"), (tree, "memory pids")):
        (path / "cgroup.subtree_control").write_text(f"{passed_on}\n")
        (path / "cgroup.procs").write_text("")
    tell(
        tmp_path / "proc",
        [f"30 1 0:26 / {tree} rw shared:4 - cgroup2 cgroup2 rw,nsdelegate"],
        ["0::/user.slice/app.slice/some.scope"],
    )
    found = [places["memory"] for places in cgroups.places(tmp_path / "proc")]
    assert found == [str(slice_), str(tree)]
    (slice_ / "cgroup.procs").chmod(0o400)
    if os.geteuid():
        assert [one["memory"] for one in cgroups.places(tmp_path / "proc")] == [str(tree)]


def test_in_two_trees_below_the_ones_that_we_are_in(tmp_path: Path) -> None:
    for path in ("memory/a/b", "pids/c"):
        (tmp_path / path).mkdir(parents=True)
    mounts = [
        f"35 1 0:32 / {tmp_path}/memory rw - cgroup cgroup rw,memory",
        f"39 1 0:36 /outer {tmp_path}/pids rw - cgroup cgroup rw,pids",
    ]
    tell(tmp_path / "proc", mounts, ["4:memory:/a/b", "8:pids:/outer/c", "0::/"])
    assert list(cgroups.places(tmp_path / "proc")) == [
        {"memory": f"{tmp_path}/memory/a/b", "pids": f"{tmp_path}/pids/c"}
    ]
    tell(tmp_path / "lost", mounts[:1], ["4:memory:/a/b", "0::/"])
    assert list(cgroups.places(tmp_path / "lost")) == []
    assert list(cgroups.places(tmp_path / "nowhere")) == []


def test_only_a_cgroup_of_ours_is_removed(tmp_path: Path) -> None:
    """Whatever stands in a record."""
    names = ("hvsim-x", "other")
    for name in names:
        (tmp_path / name).mkdir()
    said: list[object] = [str(tmp_path / name) for name in names]
    assert cgroups.remove([*said, "hvsim-relative", 7, None, {}]) == []
    assert cgroups.remove("/sys/fs/cgroup") == cgroups.remove(None) == []
    assert all((tmp_path / name).exists() for name in names)
