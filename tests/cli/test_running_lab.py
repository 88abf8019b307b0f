"""The commands on a running lab."""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from hvsim.linux import proc
from tests.support import optional
from tests.support.labs import TWO_TIER, Commands, commands, patient


@pytest.fixture(scope="module")
def lab() -> Iterator[Commands]:
    with patient(TWO_TIER) as file, commands() as made:
        made.ok("up", "--quiet", str(file))
        yield made
        assert "nothing of it is left" in made.ok("down")


def domain(found: dict[str, Any], name: str) -> dict[str, Any]:
    [row] = [row for row in found["domains"] if row["name"] == name]
    return dict(row)


def test_ps_lists_everything_with_a_pid_of_its_own(lab: Commands) -> None:
    found = lab.json("ps")
    processes = {row["name"]: row["pid"] for row in found["processes"]}
    dom0 = ["xenstored", "kernel", "xenconsoled", "toolstack", "zmq-edge"]
    assert list(processes) == ["hypervisor", *dom0]
    rows = [row for row in found["domains"] if row["domid"]]
    assert [(row["domid"], row["name"], row["role"]) for row in rows] == [
        (1, "storage", "driver"),
        (2, "db-primary", "guest"),
        (3, "web-frontend", "guest"),
    ]
    pids = [*processes.values(), *(row["pid"] for row in rows)]
    assert len(set(pids)) == 9
    assert all(proc.stat(pid) is not None for pid in pids)
    [device] = domain(found, "db-primary")["devices"]
    assert (device["backend"], device["frontend_state"], device["backend_state"]) == (
        "storage",
        4,
        4,
    )
    assert found["waits"] == []


def test_ps_for_a_reader(lab: Commands) -> None:
    lines = lab.ok("ps").splitlines()
    assert lines[1].split() == ["DOMID", "NAME", "ROLE", "STATE", "PID", "DEVICES", "WALLS"]
    assert any(
        line.startswith("2      db-primary") and "xvda<-1:Connected" in line for line in lines
    )


def test_a_stalled_backend_is_named_as_what_is_waited_for(lab: Commands) -> None:
    lab.ok("fault", "stall", "storage")
    try:
        found = lab.json("ps")
        assert {
            (row["domain"], row["device"], row["on"], row["why"]) for row in found["waits"]
        } == {
            ("db-primary", "xvda", "storage", "stalled (SIGSTOP)"),
            ("web-frontend", "xvda", "storage", "stalled (SIGSTOP)"),
        }
        assert domain(found, "storage")["stalled"]
        assert "db-primary xvda waits for storage: stalled (SIGSTOP)" in lab.ok("ps")
    finally:
        lab.ok("fault", "resume", "storage")
    assert not domain(lab.json("ps"), "storage")["stalled"]


def test_a_fault_needs_a_domain_that_is_there(lab: Commands) -> None:
    done = lab.run("fault", "kill", "nobody")
    assert done.returncode == 1
    assert done.stderr.startswith("hvsim: nobody: there is nobody of that name; there are ")
    assert "storage" in done.stderr
    assert "xenstored" in done.stderr


def test_env_points_other_programs_at_the_lab(lab: Commands) -> None:
    values = lab.json("env")
    assert os.path.exists(values["XENSTORED_PATH"])
    assert f"export XENSTORED_PATH={values['XENSTORED_PATH']}" in lab.ok("env").splitlines()
    assert "set -gx HVSIM_LAB two-tier;" in lab.ok("env", "--shell", "fish")


@pytest.mark.interop
def test_the_real_xenstore_ls_shows_the_lab(lab: Commands) -> None:
    tool = optional.program("xenstore-ls")
    environment = os.environ | {"XENSTORED_PATH": lab.json("env")["XENSTORED_PATH"]}
    done = subprocess.run(
        [tool, "-f", "-p"], env=environment, capture_output=True, text=True, check=True, timeout=20
    )
    assert '/local/domain/2/name = "db-primary"   (n0,r2)' in done.stdout.splitlines()


def test_xl_goes_to_the_toolstack_with_its_exit_codes(lab: Commands) -> None:
    assert "db-primary" in lab.ok("xl", "list")
    listed = lab.json("xl", "list")
    assert len(listed) == 4
    assert lab.ok("xl", "domid", "db-primary") == "2\n"
    done = lab.run("xl", "bogus")
    assert (done.returncode, done.stderr) == (1, "command not implemented\n")
    done = lab.run("xl")
    assert done.returncode == 1
    assert "usage: hvsim xl" in done.stdout


def test_xl_finds_files_where_the_user_stands(lab: Commands) -> None:
    done = lab.run("xl", "create", "nowhere.cfg")
    assert done.returncode != 0
    assert "nowhere.cfg" in done.stdout + done.stderr


def test_xenstore_verbs(lab: Commands) -> None:
    assert lab.ok("xenstore", "read", "/local/domain/2/name") == "db-primary\n"
    lab.ok("xenstore", "write", "/tool/note", "x y")
    assert lab.ok("xenstore", "read", "/tool/note") == "x y\n"
    lab.ok("xenstore", "rm", "/tool/note")
    assert lab.run("xenstore", "read", "/tool/note").returncode == 1
    assert "51712" in lab.ok("xenstore", "list", "/local/domain/2/device/vbd")


def test_events_begin_with_what_was(lab: Commands) -> None:
    records = [json.loads(line) for line in lab.ok("events", "--json").splitlines()]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert records[0]["kind"] == "domain.created"
    own = [json.loads(line) for line in lab.ok("events", "--json", "--domain", "2").splitlines()]
    assert {record["domid"] for record in own} == {2}


def test_events_go_on_without_a_gap(lab: Commands) -> None:
    with lab.start("events", "--follow", "--json") as follower:
        assert follower.stdout is not None
        seqs, stalls = [], 0
        before = lab.ok("events", "--json").count('"fault"')
        lab.ok("fault", "stall", "web-frontend")
        lab.ok("fault", "resume", "web-frontend")
        for line in follower.stdout:
            record = json.loads(line)
            seqs.append(record["seq"])
            stalls += record["kind"] == "fault"
            if stalls == before + 2:
                break
        follower.terminate()
        follower.stdout.read()
    assert seqs == list(range(1, len(seqs) + 1))


def test_labs_and_a_second_up(lab: Commands) -> None:
    [row] = lab.json("labs")
    assert (row["name"], row["state"]) == ("two-tier", "running")
    assert "two-tier  running" in lab.ok("labs")
    done = lab.run("up", str(TWO_TIER))
    assert done.returncode == 1
    assert "runs already" in done.stderr
    assert "--name OTHER" in done.stderr


def test_a_second_lab_beside_it(lab: Commands) -> None:
    with patient(TWO_TIER) as file:
        lab.ok("up", "--quiet", str(file), "--name", "second")
    try:
        done = lab.run("xl", "list")
        assert done.returncode == 1
        assert "2 labs run (second, two-tier); say which with --lab NAME" in done.stderr
        assert lab.ok("--lab", "second", "xl", "domid", "db-primary") == "2\n"
        assert lab.ok("xl", "domid", "db-primary", HVSIM_LAB="two-tier") == "2\n"
    finally:
        lab.ok("down", "second")
    assert lab.ok("xl", "domid", "db-primary") == "2\n"
