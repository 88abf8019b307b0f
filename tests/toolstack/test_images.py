"""One image is writable in one place: among the disks of a lab and among labs, by whatever name.

Seen red without the toolstack's claim, with a claim that ends with the driver domain (the other lab
got the image while it was being built anew), and with a kernel that holds nothing of its own.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.drivers.block import lock
from tests.support.lab_host import LabHost

IDLE = 'program="domains.guests.idle:main"\nmemory=16\n'
OTHER = lock.owner_of("/another/lab")


class Labs:
    """Two labs and an image; `hard.img` and `soft.img` are the same image."""

    def __init__(self, first: LabHost, second: LabHost, folder: Path) -> None:
        self.first, self.second = first, second
        self.folder = folder
        self.image = str(folder / "disk.img")

    def create(self, lab: LabHost, name: str, disk: str, **fields: object) -> tuple[int, str]:
        """(exit code, what was said) of a guest with one disk."""
        answer = lab.request(
            "create",
            config=f'name="{name}"\n{IDLE}disk=["{disk}"]',
            config_path="g.cfg",
            directory=str(self.folder),
            **fields,
        )
        return answer.exit, answer.err

    def free(self) -> bool:
        """Whether no lab has the image."""
        return lock.look(self.image, OTHER, readonly=False) is None


def two_labs(folder: Path) -> Iterator[Labs]:
    image = folder / "disk.img"
    image.write_bytes(bytes(1 << 20))
    (folder / "hard.img").hardlink_to(image)
    (folder / "soft.img").symlink_to(image)
    for name in ("one", "two"):
        (folder / name).mkdir()
    shared = [str(folder / "shared.img")]
    (folder / "shared.img").write_bytes(bytes(1 << 20))
    with (
        LabHost(folder / "one", shared=shared) as first,
        LabHost(folder / "two", shared=shared) as second,
    ):
        yield Labs(first, second, folder)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    yield from two_labs(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def labs(pair: Labs) -> Iterator[Labs]:
    yield pair
    for lab in (pair.first, pair.second):
        for row in lab.xl("list", json=True).data:
            if row["domid"]:
                lab.xl("destroy", str(row["domid"]))


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Labs]:
    yield from two_labs(tmp_path)


def test_another_lab_is_told_who_has_it(labs: Labs) -> None:
    assert labs.create(labs.first, "db", f"{labs.image},raw,xvda,w")[0] == 0
    for name in ("disk.img", "hard.img", "soft.img", "one/../disk.img"):
        for access, word in (("w", "read-write"), ("r", "read-only")):
            code, said = labs.create(labs.second, "thief", f"{name},raw,xvda,{access}")
            assert code == 3
            assert (
                f"is disk xvda of 'db' in lab lab, which may write to it, and so cannot be "
                f"attached {word} now."
            ) in said
    assert labs.create(labs.second, "told", "disk.img,raw,xvda,w!")[0] == 0
    labs.second.xl("destroy", "told")
    # Within one lab by the table, attached by hand as well.
    code, said = labs.create(labs.first, "twin", "hard.img,raw,xvdb,r")
    assert code == 3
    assert "is disk xvda of 'db', which may write to it" in said
    assert labs.create(labs.second, "idle", "/etc/hostname,raw,xvda,r")[0] == 0
    attached = labs.second.xl("block-attach", "idle", f"{labs.image},raw,xvdb,w")
    assert attached.exit == 1
    assert "is disk xvda of 'db' in lab lab" in attached.err
    # A detach, and a destroy, set it free at once.
    assert labs.first.xl("block-detach", "db", "xvda").exit == 0
    assert labs.second.xl("block-attach", "idle", f"{labs.image},raw,xvdb,w").exit == 0
    assert labs.create(labs.first, "late", f"{labs.image},raw,xvda,w")[0] == 3
    assert labs.second.xl("destroy", "idle").exit == 0
    assert labs.create(labs.first, "late", f"{labs.image},raw,xvda,w")[0] == 0


def test_many_may_read(labs: Labs) -> None:
    for lab, name in ((labs.first, "a"), (labs.first, "b"), (labs.second, "c")):
        assert labs.create(lab, name, f"{labs.image},raw,xvda,r")[0] == 0
    code, said = labs.create(labs.second, "w", "hard.img,raw,xvda,w")
    assert code == 3
    assert "is disk xvda of 'c', which reads it, and so cannot be attached read-write" in said


def test_what_the_lab_file_shares(labs: Labs) -> None:
    for lab, name in ((labs.first, "a"), (labs.first, "b"), (labs.second, "c")):
        assert labs.create(lab, name, f"{labs.folder}/shared.img,raw,xvda,w")[0] == 0


def process(lab: LabHost, name: str) -> int:
    rows = lab.request("ps").data["processes"]
    return int(next(row["pid"] for row in rows if row["process"] == name))


def test_it_outlives_the_toolstack_and_not_the_lab(doomed: Labs) -> None:
    first, image = doomed.first, doomed.image
    first.create(f'name="db"\n{IDLE}disk=["{image},raw,xvda,w"]')
    toolstack, kernel = process(first, "toolstack"), process(first, "kernel")
    # blkback opens the image when it hears of physical-device.
    first.wait(lambda: holds(kernel, image), "the kernel to open the image")
    os.kill(toolstack, signal.SIGKILL)
    first.wait(lambda: not holds(toolstack, image), "the toolstack to end")
    assert not doomed.free()
    first.process.kill()
    doomed.second.wait(doomed.free, "the lock to go with the lab")
    assert doomed.create(doomed.second, "next", f"{image},raw,xvda,w")[0] == 0


def holds(pid: int, path: str) -> bool:
    """Whether a process has a file open."""
    found = []
    with contextlib.suppress(OSError):  # it ends meanwhile
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            found.append(os.readlink(entry))
    return path in found


def test_a_driver_domain_that_is_built_anew_neither_loses_it_nor_blocks_itself(
    labs: Labs,
) -> None:
    storage = labs.first.create(
        'name="storage"\nprogram="domains.storage:main"\nmemory=16\ndriver_domain=1',
        profile="driver",
        files=[[labs.image, "rw"]],
        restart="always",
    )
    labs.first.wait_node(f"/local/domain/{storage}/data/health", "ok")
    guest = labs.first.create(
        f'name="guest"\nprogram="tests.toolstack.guests:read_for_ever"\nmemory=16\n'
        f'disk=["vdev=xvda,backend=storage,target={labs.image}"]'
    )
    front = f"/local/domain/{guest}/device/vbd/51712"
    labs.first.wait_node(f"{front}/state", "4")
    for _ in range(2):
        before = labs.first.request("xl", argv=["domid", "storage"], cwd="/").out.strip()
        labs.first.fault("kill", "storage")
        taken: list[bool] = []

        def back(before: str = before, taken: list[bool] = taken) -> bool:
            taken.append(labs.free())
            with labs.first.store() as store:
                backend, state = store.read_many([f"{front}/backend-id", f"{front}/state"])
            return backend not in (before, None) and state == "4"

        labs.first.wait(back, "the disk to be served again")
        assert not any(taken)
    assert labs.create(labs.second, "thief", f"{labs.image},raw,xvda,r")[0] == 3
