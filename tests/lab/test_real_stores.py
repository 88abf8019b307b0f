"""A whole lab with Xen's own store daemons: the C xenstored, and oxenstored.

Each test of a running lab is red when the store gets no event channel (its ring is never looked
at, and ``up`` waits in vain), and the recovery is red when VIRQ_DOM_EXC does not reach it.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hvsim.lab.processes import descendants
from hvsim.xs.blocking import connect
from tests.support import optional
from tests.support.held import relatives, shared
from tests.support.labs import commands
from tests.support.real_labs import STORES, RealLab, lab_file, need, running
from tests.support.waits import wait

pytestmark = pytest.mark.interop

GUEST = """
name = "extra"
memory = 32
program = "domains.guests.idle:main"
disk = ["format=raw,vdev=xvda,access=rw,backend=storage,target=web.img"]
"""


@pytest.fixture(scope="module", params=STORES)
def lab(request: pytest.FixtureRequest) -> Iterator[RealLab]:
    need(request.param)
    need("xenconsoled")
    with running(request.param) as made:
        yield made


def test_the_store_is_that_program(lab: RealLab) -> None:
    store = lab.run.name.removeprefix("real-")
    assert lab.executable("xenstored") == need(store)


def test_the_daemons_hold_nothing_of_their_kernels(lab: RealLab) -> None:
    """Nor of anybody else in the lab; see tests/exec/test_inherited.py."""
    record = json.loads((lab.run / "lab.json").read_text())
    for process in ("xenstored", "xenconsoled"):
        [daemon] = descendants(lab.pid(process))
        assert shared(daemon, relatives(record["hypervisor"]["pid"], daemon)) == []


def test_the_database_commits(lab: RealLab) -> None:
    lab.await_commits(20, "commits")


def test_tools_see_the_store(lab: RealLab) -> None:
    ls = lab.hvsim.ok("xenstore", "ls", "-f", "-p", "/local/domain/2")
    assert '/local/domain/2/name = "db-primary"   (n0,r2)' in ls.splitlines()
    assert '/local/domain/2/device/vbd/51712/state = "4"   (n2,r1)' in ls.splitlines()


@contextmanager
def crowd(lab: RealLab, path: str) -> Iterator[None]:
    """Within the block somebody makes and removes other nodes in the directory *path*."""
    stop = threading.Event()

    def bustle() -> None:
        with connect(str(lab.run / "xenstored" / "socket")) as store:
            while not stop.is_set():
                store.write(f"{path}/crowd", "1")
                time.sleep(0.005)
                store.rm(f"{path}/crowd")
                time.sleep(0.005)

    thread = threading.Thread(target=bustle)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_refused_commit_is_made_again(lab: RealLab, tmp_path: Path) -> None:
    """Real stores refuse a transaction whose directory has got another child meanwhile.  Red (for
    the C daemon) when the toolstack begins none anew (``MAX_ATTEMPTS`` = 1)."""
    (tmp_path / "more.img").write_bytes(bytes(1 << 20))
    disk = f"format=raw,vdev=xvdb,access=rw,target={tmp_path / 'more.img'}"
    with crowd(lab, "/local/domain/0/backend/vbd"):
        for _ in range(4):
            lab.hvsim.ok("xl", "block-attach", "web-frontend", disk)
            lab.hvsim.ok("xl", "block-detach", "web-frontend", "xvdb")


def test_xl_creates_attaches_detaches_and_destroys(lab: RealLab, tmp_path: Path) -> None:
    hvsim = lab.hvsim
    (tmp_path / "extra.cfg").write_text(GUEST.replace("disk", "# disk"))
    (tmp_path / "more.img").write_bytes(bytes(1 << 20))
    hvsim.ok("xl", "create", str(tmp_path / "extra.cfg"))
    disk = f"format=raw,vdev=xvdb,access=rw,target={tmp_path / 'more.img'}"
    hvsim.ok("xl", "block-attach", "extra", disk)
    assert "51728" in hvsim.ok("xl", "block-list", "extra")
    hvsim.ok("xl", "block-detach", "extra", "xvdb")
    assert "51728" not in hvsim.ok("xl", "block-list", "extra")
    domid = hvsim.ok("xl", "domid", "extra").strip()
    hvsim.ok("xl", "destroy", "extra")
    assert "extra" not in hvsim.ok("xl", "list")
    left = hvsim.ok("xenstore", "ls", "-f", "/")
    assert f"/local/domain/{domid}/" not in left
    assert f"/libxl/{domid}" not in left


def test_many_guests_at_once(lab: RealLab, tmp_path: Path) -> None:
    """Their toolstack transactions and their drivers meet in the same directories."""
    for number in range(4):
        text = GUEST.replace("disk", "# disk").replace("extra", f"many{number}")
        (tmp_path / f"{number}.cfg").write_text(text)
    started = [lab.hvsim.start("xl", "create", str(tmp_path / f"{n}.cfg")) for n in range(4)]
    assert [(one.communicate(timeout=60)[0], one.returncode)[1] for one in started] == [0] * 4
    ended = [lab.hvsim.start("xl", "destroy", f"many{number}") for number in range(4)]
    assert [(one.communicate(timeout=60)[0], one.returncode)[1] for one in ended] == [0] * 4
    assert "many" not in lab.hvsim.ok("xl", "list")


def test_the_storage_domain_dies_and_comes_back(lab: RealLab) -> None:
    lab.hvsim.ok("fault", "kill", "storage")
    lab.await_commits(20, "commits after the storage domain was rebuilt")
    for domain in ("db-primary", "web-frontend"):
        assert "I/O error" not in lab.console(domain)


def test_a_program_in_a_guest_has_the_store(lab: RealLab, tmp_path: Path) -> None:
    """With the guest's rights.  Red without the door of its kernel: there is no socket then."""
    optional.program("xenstore-read")
    script = "xenstore-read name; xenstore-write data/x 5; xenstore-ls data; xenstore-read {}"
    words = ["sh", "-c", script.format("/local/domain/0/name || echo refused; sleep 60")]
    file = tmp_path / "program.toml"
    name = json.dumps(words)
    store = lab.run.name.removeprefix("real-")
    file.write_text(
        f'[lab]\nname = "program"\nstore = "{store}"\n'
        f'[[domain]]\nname = "one"\nmemory = 16\nprogram = {{ exec = {name} }}\n'
    )
    lab.hvsim.ok("up", "--quiet", str(file))
    log = lab.hvsim.base / "program" / "console" / "one.log"
    try:
        wait(lambda: "refused" in log.read_text(), "the program's words")
        said = log.read_text().splitlines()
    finally:
        lab.hvsim.ok("down", "program", "--now")
    assert said[0] == "one"
    assert 'x = "5"' in said
    assert said[-2:] == ["xenstore-read: couldn't read path /local/domain/0/name", "refused"]


def test_what_only_our_store_can_do_is_refused(lab: RealLab) -> None:
    for words in (
        ["env", "--as", "storage"],
        ["xenstore", "timeline"],
        ["xenstore", "live-update"],
    ):
        done = lab.hvsim.run(*words)
        assert done.returncode == 1
        assert "needs hvsim's own store, and lab" in done.stderr
        assert 'store = "builtin"' in done.stderr


@pytest.mark.parametrize("store", STORES)
def test_the_demo(store: str) -> None:
    """Commits while the storage domain is killed, judged from outside; nothing is left."""
    need(store)
    need("xenconsoled")
    with commands() as hvsim:
        done = hvsim.run("demo", "--lab", str(lab_file(store)), "--kills", "3", "--json")
    found = json.loads(done.stdout)
    assert found["complaints"] == []
    assert done.returncode == 0
    assert found["acknowledged"] == found["found"] > 20
    assert (found["integrity"], found["kills"], found["leftovers"]) == ("ok", 3, [])


@pytest.mark.parametrize("store", STORES)
def test_its_death_leaves_the_lab_stuck_and_says_so(store: str) -> None:
    """As on a real host: the data path goes on, everything that needs the store is refused at once
    and says why, and ``down`` leaves nothing.  Red when nobody mourns: each command then waits for
    a store that never comes."""
    program = need(store)
    with running(store, "--console", "builtin") as lab:
        hvsim = lab.hvsim
        hvsim.ok("fault", "kill", "xenstored")
        why = f"the store of this lab has ended: {program} held it in its memory"
        done = hvsim.run("xl", "list")
        assert (done.returncode, done.stdout) == (1, "")
        assert why in done.stderr
        found = hvsim.json("ps")
        assert why in found["lost"]
        assert [row["name"] for row in found["domains"] if row["domid"]] == [
            "storage",
            "db-primary",
            "web-frontend",
        ]
        assert why in hvsim.ok("events")
        assert hvsim.run("xenstore", "read", "/").returncode == 1
        lab.await_commits(20, "commits of a database that has its disk already")
        hvsim.ok("fault", "kill", "web-frontend")
