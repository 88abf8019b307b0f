"""The toolstack is killed in the middle of things: the next one finds what there is, and ends what
was half done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hvsim.lab.answers import Answer, RequestLost
from hvsim.lab.control import Control
from tests.support.asking import asked
from tests.support.lab_host import LabHost

IDLE = 'program="domains.guests.idle:main"\nmemory=8\n'
GUEST = 'program="tests.toolstack.guests:read_for_ever"\nmemory=16\n'


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    with LabHost(tmp_path_factory.mktemp("takeover")) as host:
        yield host


@pytest.fixture
def host(shared: LabHost) -> Iterator[LabHost]:
    """The host, empty; afterwards whatever a test has left goes."""
    yield shared
    for info in shared.xl("list", json=True).data:
        if info["domid"]:
            shared.xl("destroy", str(info["domid"]))
    with shared.store() as store:
        assert store.directory("/local/domain") == ["0"]
        assert store.directory("/libxl") == []
    assert list((shared.run_dir / "libxl").glob("*.hvsim")) == [], "no note without a domain"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 20))
    return path


def storage(host: LabHost, image: Path, more: str = "", **fields: Any) -> int:
    domid = host.create(
        f'name="storage"\nprogram="domains.storage:main"\nmemory=32\ndriver_domain=1\n{more}',
        profile="driver",
        files=[[str(image), "rw"]],
        restart="always",
        **fields,
    )
    host.wait_node(f"/local/domain/{domid}/data/health", "ok")
    return domid


def guest(host: LabHost, image: Path) -> int:
    domid = host.create(f'name="g"\n{GUEST}disk=["vdev=xvda,backend=storage,target={image}"]')
    host.wait_node(f"/local/domain/{domid}/data/health", "ok")
    return domid


def rows(host: LabHost) -> dict[str, Any]:
    """The domains as ``ps`` shows them, without what changes by itself."""
    host.request("ready")
    found = {}
    for row in host.request("ps").data["domains"]:
        if row["domid"]:
            devices = [
                {key: device[key] for key in ("vdev", "backend", "frontend_state", "backend_class")}
                for device in row["devices"]
            ]
            keys = ("domid", "restart", "restarts", "program", "role", "uuid")
            found[row["name"]] = {**{key: row[key] for key in keys}, "devices": devices}
    return found


def kill_toolstack(host: LabHost) -> None:
    """And wait until the next one has found what there is."""
    host.fault("kill", "toolstack")
    host.request("ready")


class Begun:
    """A request that is under way in a conversation of its own."""

    def __init__(self, host: LabHost, verb: str, **fields: Any) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._control = Control(host.run_dir / "control")
        self._answer: Future[Answer] = self._pool.submit(
            lambda: self._control.request(asked(verb, **fields), patience=30.0)
        )

    def lost(self) -> str:
        """What whoever asked was told."""
        with pytest.raises(RequestLost) as caught:
            self._answer.result(30)
        self._control.close()
        self._pool.shutdown()
        return str(caught.value)


def node(host: LabHost, path: str) -> Callable[[], bool]:
    """Whether a node is there."""

    def there() -> bool:
        with host.store() as store:
            return store.exists(path)

    return there


def test_everything_is_known_again(host: LabHost, image: Path) -> None:
    """Red without ``take_over``: the guests are strangers, and a dead driver domain stays dead."""
    old, domid = storage(host, image), guest(host, image)
    host.fault("kill", "storage")
    host.wait(lambda: node(host, f"/local/domain/{old + 2}/backend/vbd/{domid}")(), "storage")
    host.wait_node(f"/local/domain/{domid}/device/vbd/51712/state", "4")
    before = rows(host)
    assert before["storage"]["restarts"] == 1
    kill_toolstack(host)
    assert rows(host) == before
    host.fault("kill", "storage")
    back = f"/local/domain/{domid}/device/vbd/51712"
    host.wait(lambda: rows(host).get("storage", {}).get("restarts") == 2, "storage to be rebuilt")
    host.wait_node(f"{back}/state", "4")
    assert host.xl("shutdown", "-w", "g").exit == 0


def test_who_died_meanwhile_is_rebuilt_and_who_ended_is_cleared_away(
    host: LabHost, image: Path
) -> None:
    """Red without the first look at all domains: both stay as they are."""
    old, domid = storage(host, image), guest(host, image)
    host.fault("stall", "toolstack")
    host.fault("kill", "storage")
    with host.store() as store:
        store.write(f"/local/domain/{domid}/control/shutdown", "poweroff")
        host.wait(lambda: store.read(f"/local/domain/{domid}/control/shutdown") == "", "the guest")
    kill_toolstack(host)
    host.wait(lambda: list(rows(host)) == ["storage"], "one to be rebuilt, and one to be gone")
    assert rows(host)["storage"]["domid"] > old


def test_a_create_that_was_under_way_is_undone(host: LabHost, image: Path) -> None:
    """Red when the note is written at the end only: the half of a domain stays for ever."""
    domid = host.create(f'name="first"\n{IDLE}') + 1
    host.fault("stall", "kernel")
    try:
        begun = Begun(
            host, "create", config=f'name="g"\n{IDLE}disk=["{image},raw,xvda,w"]', directory="/"
        )
        host.wait(node(host, f"/local/domain/{domid}/device/vbd/51712"), "the create to be midway")
        host.fault("kill", "toolstack")
    finally:
        # It is dom0's init as well: nobody comes back before it goes on.
        host.fault("resume", "kernel")
    assert "the toolstack was killed by SIGKILL meanwhile" in begun.lost()
    host.wait(lambda: list(rows(host)) == ["first"], "the half of a domain to go")
    host.wait(lambda: not node(host, f"/libxl/{domid}")(), "its nodes to go")
    assert host.create(f'name="g"\n{IDLE}') > domid, "the name is free"


def test_a_destroy_that_was_under_way_goes_on(host: LabHost, image: Path) -> None:
    """Red when only built domains are known again: it stays paused, half taken apart."""
    storage(host, image)
    domid = guest(host, image)
    host.xl("pause", "storage")
    begun = Begun(host, "xl", argv=["destroy", "g"], cwd="/")
    host.wait(
        lambda: not node(host, f"/local/domain/{domid}/device/vbd/51712")(), "the destroy to begin"
    )
    host.fault("kill", "toolstack")
    assert "was killed by SIGKILL" in begun.lost()
    host.request("ready")
    host.xl("unpause", "storage")
    host.wait(lambda: list(rows(host)) == ["storage"], "the destroy to go on")
    host.wait(lambda: not node(host, f"/libxl/{domid}")(), "its nodes to go")


def test_what_was_to_be_made_again_is_made_again(host: LabHost, image: Path) -> None:
    """Its remains are gone already, and only the note knows of it.  Red when the note goes with
    the remains."""
    own = image.with_name("own.img")
    own.write_bytes(bytes(4096))
    old = storage(host, image, more=f'disk=["{own},raw,xvda,w"]')
    domid = guest(host, image)
    own.rename(own.with_suffix(".away"))
    host.fault("kill", "storage")
    host.wait(lambda: list(rows(host)) == ["g"], "the rebuild to fail")
    host.fault("kill", "toolstack")
    own.with_suffix(".away").rename(own)
    host.wait(lambda: "storage" in rows(host), "storage to be rebuilt")
    assert rows(host)["storage"]["domid"] > old
    host.wait_node(f"/local/domain/{domid}/device/vbd/51712/state", "4")


@pytest.mark.parametrize("verb", ["block-attach", "block-detach"])
def test_a_disk_that_was_being_attached_or_detached_goes(
    host: LabHost, image: Path, verb: str
) -> None:
    """Red when ``changing`` is not noted: the device stays half made, and the name is taken."""
    domid = host.create(f'name="g"\n{GUEST}disk=["{image},raw,xvda,w"]')
    host.wait_node(f"/local/domain/{domid}/data/health", "ok")
    other = image.with_name("other.img")
    other.write_bytes(bytes(4096))
    disk = f"{other},raw,xvdb,w"
    if verb == "block-detach":
        assert host.xl("block-attach", "g", disk).exit == 0
    host.fault("stall", "kernel")
    try:
        words = ["g", disk] if verb == "block-attach" else ["g", "xvdb"]
        begun = Begun(host, "xl", argv=[verb, *words], cwd="/")
        note = next((host.run_dir / "libxl").glob(f"userdata-d.{domid}.*.hvsim"))
        host.wait(lambda: json.loads(note.read_text())["changing"] == ["vbd/51728"], "the middle")
        host.fault("kill", "toolstack")
    finally:
        host.fault("resume", "kernel")
    begun.lost()
    host.wait(lambda: not node(host, f"/libxl/{domid}/device/vbd/51728")(), "the disk to go")
    assert [device["vdev"] for device in rows(host)["g"]["devices"]] == ["xvda"]
    assert host.xl("block-attach", "g", disk).exit == 0


def test_a_backend_that_has_not_seen_a_disk_need_not_close_it(host: LabHost, image: Path) -> None:
    """Red without ``_not_begun``: the backend finds it Closing when it goes on, which is no new
    device to it, and leaves it so for ever."""
    storage(host, image)
    domid = guest(host, image)
    host.xl("pause", "storage")
    other = image.with_name("other.img")
    other.write_bytes(bytes(4096))
    disk = f"vdev=xvdb,backend=storage,target={other}"
    begun = Begun(host, "xl", argv=["block-attach", "g", disk], cwd="/")
    place = f"/libxl/{domid}/device/vbd/51728"
    host.wait(node(host, place), "the attach to be midway")
    host.fault("kill", "toolstack")
    begun.lost()
    host.wait(lambda: not node(host, place)(), "the disk to go while its backend is paused")
    host.xl("unpause", "storage")
