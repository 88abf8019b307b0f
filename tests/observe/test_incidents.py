"""For each incident: what ``hvsim ps`` says, and what a command says that fails for it.

Both are bounded by issue: ps tells within 0.3 s, the command within 2 s of the cause being known
(which it is from the strike on).  How the bounds are made robust: what is timed is the work and not
the start of an interpreter, which the machine decides (the real command is timed against another
one that only starts, ``test_the_command_itself``); and the best of several tries counts, since a
busy machine makes each of them late, but a wait that should not be there all of them.

Seen red: each row with its look at the culprit taken out (``Census._stalled`` answering None, say,
or ``backend.init_wait`` without ``look_out``): the command then says something else, and late.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest

from hvsim.commands.xenstore_tools import main as xenstore
from hvsim.lab.control import Control
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.rundir import RunDir
from hvsim.lab.store import open_store
from hvsim.observe.events import snapshot
from hvsim.observe.picture import picture
from hvsim.observe.ps_words import lines as ps_lines
from hvsim.observe.rows import Picture
from hvsim.wire.control import Told
from hvsim.wire.status import Status
from hvsim.wire.typed import read
from tests.observe.incident_kinds import LAB, NAMES, READER, Host, Incident
from tests.observe.incident_table import BROKEN, CONSOLE, LAST, TABLE, qemu_rows
from tests.support import qdisk_labs
from tests.support.labs import Commands, commands
from tests.support.waits import wait

PS_BOUND = 0.3
COMMAND_BOUND = 2.0
TRIES = 3
LOOKS = 12
"""Tries of what changes nothing: no more of them than it takes."""
_PREDICATE = (
    r"( \((pid|domain) \d+\))?( \S+)? (stands still|is paused|has died|was killed|has crashed|"
    r"is gone|has ended|ended with|does not|refused|could not|runs, and)"
)


@pytest.fixture(scope="module")
def made() -> Iterator[Commands]:
    with commands() as made:
        yield made


@pytest.fixture(scope="module")
def host(made: Commands, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("inc")
    (folder / "inc.toml").write_text(LAB)
    (folder / "reader.py").write_text(READER)
    made.ok("up", "--quiet", str(folder / "inc.toml"))
    yield Host(RunDir(made.base / "inc").read(), folder)
    made.ok("down", "inc", "--now")


@dataclass
class Seen:
    """What ``ps`` told."""

    found: Picture
    seconds: float

    @property
    def text(self) -> str:
        return "\n".join(ps_lines(self.found))

    @property
    def blamed(self) -> set[str]:
        return {trouble["who"] for trouble in self.found["troubles"]}


def look(run: RunDir) -> Seen:
    """One look, as ``hvsim ps`` takes it."""
    began = time.monotonic()
    with Control(run.control, alive=lambda: run.running) as control:
        found = picture(run, control)
    return Seen(found, time.monotonic() - began)


def nobody_else(text: str, who: str) -> None:
    """No text names the wrong one: of all names only *who*'s has a predicate behind it."""
    for name in NAMES:
        if name != who and not who.startswith(name):
            wrong = re.search(rf"(?<![\w/-]){name}(-\d+)?{_PREDICATE}", text)
            assert wrong is None, f"{who or 'nobody'} is to blame, and this says: {wrong[0]}"


def best(tries: int, bound: float, once: Callable[[], float]) -> float:
    """The least of several times, and no more of them than it takes."""
    times: list[float] = []
    while len(times) < tries and (not times or min(times) > bound):
        times.append(once())
    return min(times)


def ps_says(host: Host, incident: Incident, pid: int) -> None:
    seen = [look(host.run)]

    def again() -> float:
        seen.append(look(host.run))
        return seen[-1].seconds

    if seen[0].seconds > PS_BOUND:
        assert best(LOOKS, PS_BOUND, again) <= PS_BOUND
    first = seen[0]
    expected = {incident.who} - {""}
    if incident.returns:
        assert first.blamed <= expected
    elif incident.who:
        assert first.blamed == expected, first.text
    else:
        assert first.blamed == set(), first.text
    says = incident.ps
    if says is None and not incident.returns:
        says = rf"{incident.who} \(pid {pid}\) stands still \(SIGSTOP\)"
    if says:
        assert re.search(says.replace("{pid}", str(pid)), first.text), first.text
    nobody_else("\n".join(first.text.splitlines()[2:]), incident.who or "storage")


def command_says(host: Host, incident: Incident, pid: int) -> None:
    said: list[str] = []

    def once() -> float:
        began = time.monotonic()
        said.append(incident.command(host))
        return time.monotonic() - began

    assert best(TRIES, COMMAND_BOUND, once) <= COMMAND_BOUND, said
    for text in said:
        assert re.search(incident.says.replace("{pid}", str(pid)), text, re.DOTALL), text
        nobody_else(text.partition("(it worked)")[0], incident.who)


def healed(host: Host) -> None:
    """Everybody is at work again (bounded)."""
    deadline = time.monotonic() + 30.0
    while True:
        seen = look(host.run)
        if not seen.blamed and not seen.found["waits"] and seen.found["source"] == "toolstack":
            return
        assert time.monotonic() < deadline, seen.text
        time.sleep(0.02)


def play(host: Host, incident: Incident) -> None:
    pid = incident.strike(host)
    try:
        ps_says(host, incident, pid if isinstance(pid, int) else 0)
        command_says(host, incident, pid if isinstance(pid, int) else 0)
    finally:
        incident.heal(host)
    if incident.heals:
        healed(host)


@pytest.fixture(scope="module")
def worn(made: Commands, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Thread]:
    """A lab of its own in which two die again and again, while the others are played: a driver
    domain whose program does not exist, and the console daemon, which is killed each time."""
    folder = tmp_path_factory.mktemp("worn")
    (folder / "worn.toml").write_text(
        '[[domain]]\nname = "idle"\nmemory = 16\nprogram = "domains.guests.idle:main"\n'
    )
    made.ok("up", "--quiet", str(folder / "worn.toml"))
    host = Host(RunDir(made.base / "worn").read(), folder)
    host.create("broken", program="nowhere:main", profile="driver", restart="always")
    wearing = Worn(host)
    wearing.start()
    yield wearing
    wearing.join()
    made.run("down", "worn", "--now")


class Worn(Thread):
    """Kills xenconsoled as long as it comes back; not by ``fault``, which is not counted."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host

    def run(self) -> None:
        deadline = time.monotonic() + 60.0
        while time.monotonic() < deadline:
            seen = look(self.host.run)
            up = {"broken", "xenconsoled"} - {
                trouble["who"]
                for trouble in seen.found["troubles"]
                if trouble["what"] == "given-up"
            }
            if not up:
                return
            for row in seen.found["processes"]:
                if row["name"] == "xenconsoled" and row["pid"]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(row["pid"], signal.SIGKILL)
            time.sleep(0.05)


@pytest.mark.parametrize("incident", TABLE, ids=lambda incident: incident.name)
def test_incident(worn: Worn, host: Host, incident: Incident) -> None:
    play(host, incident)


@pytest.mark.interop
def test_a_qemu(host: Host) -> None:
    qdisk_labs.need()
    disk = f"format=raw,vdev=xvda,backendtype=qdisk,target={host.image}"
    said = host.create("disky", program="domains.guests.idle:main", overrides=[f'disk=["{disk}"]'])
    assert "it worked" in said, said
    try:
        [row] = [row for row in look(host.run).found["domains"] if row["name"] == "disky"]
        name, (stalls, dies) = f"qemu-{row['domid']}", qemu_rows(int(row["domid"]))
        play(host, dies)
        # A toolstack that comes after the one which started it keeps it running as well.
        host.fault("kill", "toolstack")
        host.ask("ready")
        dead = host.fault("kill", name)
        deadline = time.monotonic() + 30.0
        while dead in (pids := qemus(host, name)) or not pids:
            assert time.monotonic() < deadline, "nobody starts it again"
            time.sleep(0.02)
        healed(host)
        play(host, stalls)
    finally:
        host.xl("destroy", "disky")


def qemus(host: Host, name: str) -> list[int]:
    rows = look(host.run).found["processes"]
    return [row["pid"] for row in rows if row["name"] == name and row["pid"]]


@pytest.mark.parametrize("who", ["xenstored", "storage", "web"])
def test_every_listing_answers_while_somebody_stands_still(
    host: Host, capfd: pytest.CaptureFixture[str], who: str
) -> None:
    """Within the bound, with what is known without him.  Red with ``toolstack.store()`` in the
    place of ``glance``."""
    domid = host.run.record["domains"]["web"]
    pid = host.fault("stall", who)
    still = f"{who} (pid {pid}) stands still (SIGSTOP)"
    memory = f"{still}; `hvsim fault resume {who}` lets it go on; names and devices are told"
    try:
        for words, shows in (
            (("list",), r"\nweb +\d+ +32 "),
            (("vcpu-list",), r"\nweb +\d+ +0 "),
            (("info",), r"nr_cpus"),
            (("dmesg",), r"\(XEN\)"),
            (("block-list", "web"), rf"51712 +\d+ .*/backend/vbd/{domid}/51712"),
            (("network-list", "web"), rf"00:16:3e:.*/backend/vif/{domid}/0"),
            (("domid", "web"), str(domid)),
        ):
            said: list[str] = []

            def once(words: tuple[str, ...] = words, said: list[str] = said) -> float:
                began = time.monotonic()
                said.append(host.xl(*words))
                return time.monotonic() - began

            assert best(LOOKS, PS_BOUND, once) <= PS_BOUND, words
            assert re.search(shows, said[0]), said[0]
            asks_the_store = who == "xenstored" and words[0] not in ("info", "dmesg")
            assert (memory in said[0]) == asks_the_store, said[0]
        assert best(LOOKS, PS_BOUND, lambda: look(host.run).seconds) <= PS_BOUND
        assert best(LOOKS, PS_BOUND, lambda: timed(lambda: list(snapshot(host.run)))) <= PS_BOUND
        assert best(LOOKS, PS_BOUND, lambda: timed(lambda: xenstore_ls(host))) <= PS_BOUND
        if who == "xenstored":
            with (
                open_store(host.run) as store,
                pytest.raises(
                    TimeoutError, match=rf"does not come: xenstored \(pid {pid}\) stands"
                ),
            ):
                store.read("/local")
        told = capfd.readouterr()
        assert (still in told.err) == (who == "xenstored")
        assert ("xenstored" in told.out) == (who != "xenstored"), "the tree, as far as it goes"
    finally:
        host.fault("resume", who)
    healed(host)


def timed(what: Callable[[], object]) -> float:
    began = time.monotonic()
    what()
    return time.monotonic() - began


def xenstore_ls(host: Host) -> None:
    xenstore(["ls", "/"], str(host.run.xenstored), on_silence=Inquiry(host.run).store_words)


@pytest.mark.parametrize("who", ["xenstored", "toolstack"])
def test_the_command_itself(made: Commands, host: Host, who: str) -> None:
    """``hvsim ps`` as it is typed takes no longer than when all is well, but for the modules that
    are needed to find out who it is: no wait was entered."""

    def ps() -> float:
        return timed(lambda: made.ok("ps", "--lab", "inc"))

    def more() -> float:
        return timed(lambda: made.script("import hvsim.observe.witnesses"))

    well = min(ps() for _ in range(TRIES)) + min(more() for _ in range(TRIES))
    host.fault("stall", who)
    try:
        assert best(LOOKS, well + PS_BOUND / 2, ps) <= well + PS_BOUND / 2
        assert f"{who} (pid " in made.ok("ps", "--lab", "inc")
    finally:
        host.fault("resume", who)
    healed(host)


@pytest.mark.parametrize("incident", LAST, ids=lambda incident: incident.name)
def test_the_last_incident(host: Host, incident: Incident) -> None:
    """Who has crashed is named also when its domain is destroyed, as long as somebody waits for it.
    Red without ``gone`` in ``picture``."""
    play(host, incident)
    deadline, seen = time.monotonic() + 30.0, look(host.run)
    while any(row["name"] == incident.who for row in seen.found["domains"]):
        assert time.monotonic() < deadline, f"{incident.who} is not destroyed"
        seen = look(host.run)
    assert seen.blamed == {incident.who}
    assert re.search(rf"{incident.who} \(domain \d+\) has crashed", seen.text), seen.text


@pytest.mark.parametrize("incident", [BROKEN, CONSOLE], ids=lambda incident: incident.name)
def test_who_dies_again_and_again_is_given_up(worn: Worn, incident: Incident) -> None:
    """Red without the bound in ``Restarts``: neither ever is, and the wear has no end."""
    worn.join()
    seen = look(worn.host.run)
    assert seen.blamed == {"broken", "xenconsoled"}
    assert incident.ps is not None
    assert re.search(incident.ps, seen.text), seen.text
    command_says(worn.host, incident, 0)
    assert f"{incident.who} has died 8 times" in worn.host.xl("dmesg")


def under_way(control: Control) -> list[str]:
    """What the toolstack does."""
    control.send({"verb": "status"})
    frame = None
    while not isinstance(frame, Told):
        frame = control.receive(1.0)
    return [task.task for task in read(Status, frame.status).others]


@pytest.mark.parametrize(
    ("who", "says"),
    [
        ("kernel", r"dom0's kernel \(pid {pid}\): killed by signal 9; Hardware Dom0 shutdown"),
        ("hypervisor", r"its hypervisor \(pid {pid}\) is gone without a word"),
    ],
)
def test_what_ends_the_lab(made: Commands, tmp_path: Path, who: str, says: str) -> None:
    """Whoever runs a command then is told, and so is who was in the middle of one."""
    (tmp_path / "end.toml").write_text(
        '[[domain]]\nname = "idle"\nmemory = 16\nprogram = "domains.guests.idle:main"\n'
    )
    made.ok("up", "--quiet", str(tmp_path / "end.toml"))
    host = Host(RunDir(made.base / "end").read(), tmp_path)
    said: list[str] = []
    host.xl("pause", "idle")
    waiting = Thread(target=lambda: said.append(host.xl("shutdown", "idle")))
    waiting.start()
    with Control(host.run.control) as control:
        wait(lambda: "xl shutdown idle" in under_way(control), "the request to be under way")
    pid = host.fault("kill", who)
    waiting.join()
    says = says.replace("{pid}", str(pid))
    assert re.search(rf"xl shutdown: the lab has ended meanwhile: {says}", said[0]), said[0]
    done = made.run("ps", "--lab", "end")
    assert done.returncode == 1
    assert re.search(rf"hvsim: lab end has ended: {says}", done.stderr), done.stderr
    nobody_else(done.stderr, who)
    assert re.search(rf"end has ended: {says}", made.ok("labs"))
    made.ok("down", "end")
