"""`hvsim xenstore timeline` on real labs: a device that connects, one frozen in state 2, one whose
backend was killed and came back; and a frontend that does not keep to the rules."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.labs import Commands, commands
from tests.support.waits import wait

LAB = """
[lab]
name = "lines"
{more}

[[image]]
path = "web.img"
size = "16M"
scratch = true

[[domain]]
name = "storage"
role = "driver"
restart = "always"
memory = 128
program = "domains.storage:main"

[[domain]]
name = "web"
memory = 32
program = "domains.guests.load:main"
disk = ["format=raw,vdev=xvda,access=rw,backend=storage,target=web.img"]
"""
COLD = """
name = "cold"
memory = 32
program = "{program}"
disk = ["format=raw,vdev=xvda,access=rw,target={image}"]
"""
HASTY = '''
"""A frontend that says Connected before it has done anything."""

from hvsim.xs.client import StoreError


def main(dom):
    try:
        dom.store.write("device/vbd/51712/state", "4")
        dom.store.write("data/answer", "taken")
    except StoreError as error:
        dom.store.write("data/answer", f"refused with errno {error.errno}")
    dom.wait(lambda: dom.shutdown_requested is not None, 600, "the end")
'''


@pytest.fixture
def hvsim_() -> Iterator[Commands]:
    with commands() as made:
        yield made


def up(hvsim_: Commands, directory: Path, more: str = "") -> None:
    (directory / "lab.toml").write_text(LAB.format(more=more))
    hvsim_.ok("up", "--quiet", str(directory / "lab.toml"))


def config(directory: Path, program: str = "domains.guests.load:main") -> str:
    """A guest whose disk is served by dom0."""
    with open(directory / "cold.img", "wb") as image:
        image.truncate(16 << 20)
    (directory / "cold.cfg").write_text(COLD.format(program=program, image=directory / "cold.img"))
    return str(directory / "cold.cfg")


def columns(text: str) -> list[tuple[str, str]]:
    """(left, right) of every line of the table."""
    [head] = [line for line in text.splitlines() if "FRONTEND (the guest)" in line]
    split, start = head.index("BACKEND"), head.index("FRONTEND")
    table = text.split("\n\n")[1].splitlines()[2:]
    return [(line[start : split - 3].strip(), line[split:].strip()) for line in table]


def steps(text: str) -> list[tuple[str, str]]:
    """("F" or "B", state's number) of every state in the table, in order."""
    found = []
    for left, right in columns(text):
        for side, cell in (("F", left), ("B", right)):
            match = re.match(r"[A-Z][A-Za-z]+ \((\d)\)", cell)
            if match is not None:
                found.append((side, match[1]))
    return found


def words(text: str) -> str:
    """The text without its layout."""
    return " ".join(text.split())


def prose(text: str, side: int) -> str:
    """One column, read from top to bottom."""
    return words(" ".join(row[side] for row in columns(text)))


CONNECTING = [("F", "1"), ("B", "1"), ("B", "2"), ("F", "3"), ("B", "4"), ("F", "4")]


def test_a_device_that_connects_and_one_whose_backend_was_killed(
    hvsim_: Commands, tmp_path: Path
) -> None:
    up(hvsim_, tmp_path)
    told = hvsim_.ok("xenstore", "timeline", "web/xvda")
    assert told.startswith("web/xvda: a disk of web (domain 2), served by storage (domain 1)\n")
    # The toolstack writes both halves in one transaction; their order is of no meaning.
    assert sorted(steps(told)[:2]) == [("B", "1"), ("F", "1")]
    assert steps(told)[2:] == CONNECTING[2:]
    front, back = prose(told, 0), prose(told, 1)
    assert "writes ring-ref=8, event-channel=" in front
    assert front.index("ring-ref=8") < front.index("Initialised (3)")
    assert "[by XL, the toolstack]" in front
    assert "hotplug-status=connected" in back
    # What the hypervisor did stands between the two states that it connects.
    assert back.index("InitWait") < back.index("* maps the ring: grant 8 of domain 2")
    assert back.index("* binds its port") < back.index("Connected (4)")
    assert words(told).endswith("Nobody waits: the disk is connected.")
    assert "!!" not in told

    hvsim_.ok("fault", "kill", "storage")

    def back_again() -> bool:
        row = hvsim_.json("xenstore", "timeline", "web/xvda")
        return bool(row["backend"]["domid"] > 2 and row["frontend"]["state"] == 4)

    wait(back_again, "the disk to be connected again")
    told = hvsim_.ok("xenstore", "timeline", "2/51712")
    front, back = prose(told, 0), prose(told, 1)
    order = [
        "Connected (4)",
        "* domain 1 stops: crash",
        "removed",
        "--- from here on: storage (domain",
        "InitWait (2)",
        "Connected (4)",
    ]
    position = 0
    for text in order:
        position = back.index(text, position) + len(text)
    assert "the toolstack sets the device back to its beginning, for another backend" in front
    assert [state for side, state in steps(told) if side == "F"] == ["1", "3", "4", "1", "3", "4"]
    assert "!!" not in told
    # A whole lab came up and lost a domain: no rule was broken anywhere.
    short = hvsim_.ok("xenstore", "timeline")
    assert "web/xvda" in short
    assert "broke" not in short
    assert hvsim_.run("xenstore", "timeline", "web/xvdz").stderr == (
        "hvsim: no device 'web/xvdz' was seen; seen were: web/xvda\n"
    )
    hvsim_.ok("down", "--now")


def test_a_device_frozen_in_state_2(hvsim_: Commands, tmp_path: Path) -> None:
    up(hvsim_, tmp_path)
    hvsim_.ok("xl", "create", "-p", config(tmp_path))
    told = hvsim_.ok("xenstore", "timeline", "cold/xvda")
    assert sorted(steps(told)) == [("B", "1"), ("B", "2"), ("F", "1")]
    now = words(told[told.index("Now:") :])
    assert now == (
        "Now: frontend Initialising (1) | backend InitWait (2) "
        "Domain-0 waits for cold, whose driver has to publish ring-ref and event-channel and then "
        "write Initialised (3). "
        "cold is paused, so it will not go on by itself (`hvsim xl unpause cold`)."
    )
    assert "Domain-0 waits for cold" in hvsim_.ok("xenstore", "timeline")
    hvsim_.ok("xl", "unpause", "cold")
    wait(
        lambda: hvsim_.json("xenstore", "timeline", "cold/xvda")["frontend"]["state"] == 4,
        "the disk to connect",
    )
    assert "!!" not in hvsim_.ok("xenstore", "timeline", "cold/xvda")
    hvsim_.ok("down", "--now")


@pytest.mark.parametrize("mode", ["record", "strict"])
def test_a_frontend_that_says_connected_out_of_nothing(
    hvsim_: Commands, tmp_path: Path, mode: str
) -> None:
    """The lab's other devices connect in either mode: strict refuses only what is wrong."""
    up(hvsim_, tmp_path, f'handshake = "{mode}"')
    (tmp_path / "hasty.py").write_text(HASTY)
    hvsim_.ok("xl", "create", config(tmp_path, "hasty:main"))
    [row] = [
        row
        for row in hvsim_.json("xenstore", "timeline")["devices"]
        if row["vdev"] == "xvda" and "cold" in row["names"].values()
    ]
    home = f"/local/domain/{row['frontend']['domid']}"

    def answer() -> str:
        done = hvsim_.run("xenstore", "read", f"{home}/data/answer")
        return done.stdout.strip() if done.returncode == 0 else ""

    wait(lambda: bool(answer()), "the guest's report")
    told = hvsim_.ok("xenstore", "timeline", "cold/xvda")
    timeline: list[dict[str, Any]] = hvsim_.json("xenstore", "timeline", "cold/xvda")["timeline"]
    broken = [breach["rule"] for record in timeline for breach in record.get("breaches", [])]
    assert broken == ["skips-initialised", "not-published"]
    assert "!! not-published" in told
    assert "xen/io/blkif.h" in told
    ledger = [line for line in hvsim_.ok("events").splitlines() if "store.handshake" in line]
    assert len(ledger) == 2
    state = hvsim_.ok("xenstore", "read", f"{home}/device/vbd/51712/state").strip()
    if mode == "record":
        assert (answer(), state) == ("taken", "4")
    else:
        assert (answer(), state) == ("refused with errno 1", "1")
        assert "REFUSED: Connected (4)" in told
        assert "(refused)" in ledger[0]
        # A hand from outside is refused as well.
        done = hvsim_.run("xenstore", "write", f"{home}/device/vbd/51712/state", "6")
        assert (done.returncode, "could not write" in done.stderr) == (1, True)
    hvsim_.ok("down", "--now")
