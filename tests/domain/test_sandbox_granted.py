"""What a lab grants by path is there in a domain's root directory: under its name, and usable."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.domain.spawner_harness import Harness, SpawnFailed
from tests.support.namespaces import MNT_DETACH, mount, umount

LOOP_SET_FD, LOOP_CLR_FD, LOOP_CTL_GET_FREE = 0x4C00, 0x4C01, 0x4C82  # linux/loop.h


@pytest.fixture(scope="module")
def spawner() -> Iterator[Harness]:
    with Harness() as harness:
        yield harness


def opened(harness: Harness, paths: list[list[str]], **more: Any) -> dict[str, str]:
    """How the opening of each [path, mode] ends in a domain."""
    child = harness.spawn("reach", args={"paths": paths}, **more)
    assert child.missing == []
    answer: dict[str, str] = child.receive()
    assert harness.receive()[0][0] == "exited"
    return answer


def closed_file(path: Path, text: str = "data") -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("executables", [False, True], ids=["guest", "program"])
def test_files_of_the_owner_alone(spawner: Harness, tmp_path: Path, executables: bool) -> None:
    """Mode 0600, in directories that nobody else may enter, below /tmp, with blanks.  Red, as root,
    when ``lay`` attaches without an id map."""
    folder = tmp_path / "with a blank"
    folder.mkdir(mode=0o700)
    own, shared = closed_file(folder / "a b.img"), closed_file(tmp_path / "r.img")
    beside = closed_file(folder / "not granted")
    outcome = opened(
        spawner,
        [
            [str(own), "r"],
            [str(own), "w"],
            [str(shared), "r"],
            [str(shared), "w"],
            [str(beside), "r"],
        ],
        files=[[str(own), "rw"], [str(shared), "r"]],
        executables=executables,
    )
    assert outcome[f"{own} r"] == outcome[f"{own} w"] == outcome[f"{shared} r"] == "ok"
    assert outcome[f"{shared} w"] in {"EROFS", "EACCES"}
    assert outcome[f"{beside} r"] == "ENOENT"
    assert own.stat().st_uid == os.geteuid()


def test_a_directory_and_all_below_it(spawner: Harness, tmp_path: Path) -> None:
    """Whose files may be closed to others even where the directory is not.  Red when
    ``needs_map`` looks at the directory alone."""
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    inner = closed_file(folder / "deep" / "inner")
    outcome = opened(spawner, [[str(inner), "r"], [str(inner), "w"]], files=[[str(folder), "rw"]])
    assert set(outcome.values()) == {"ok"}
    outcome = opened(spawner, [[str(inner), "r"], [str(inner), "w"]], files=[[str(folder), "r"]])
    assert outcome[f"{inner} r"] == "ok"
    assert outcome[f"{inner} w"] in {"EROFS", "EACCES"}


def test_the_lab_s_programs_may_be_closed_to_others(spawner: Harness, tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    module = closed_file(folder / "program.py", "")
    folder.chmod(0o700)
    outcome = opened(spawner, [[str(module), "r"], [str(module), "w"]], path=[str(folder)])
    assert outcome[f"{module} r"] == "ok"
    assert outcome[f"{module} w"] in {"EROFS", "EACCES"}


def test_a_closed_directory_below_the_lab_s_programs(spawner: Harness, tmp_path: Path) -> None:
    """A lab file in /tmp, and its run directory there.  Red, as root, without ``_clear_way``."""
    tmp_path.chmod(0o755)  # else all of it is shown through an id map
    closed = tmp_path / "run"
    closed.mkdir()
    first, second = closed_file(closed / "a.img"), closed_file(closed / "b.img")
    beside = closed_file(closed / "not granted")
    closed.chmod(0o700)
    wanted = [[str(path), "w"] for path in (first, second, beside)]
    outcome = opened(
        spawner, wanted, path=[str(tmp_path)], files=[[str(first), "rw"], [str(second), "rw"]]
    )
    assert outcome[f"{first} w"] == outcome[f"{second} w"] == "ok"
    assert outcome[f"{beside} w"] != "ok"


def test_symbolic_links_on_the_way(spawner: Harness, tmp_path: Path) -> None:
    """Granted by a link's name, or through a directory that is one; both names lead there.  Red
    when ``plan`` forgets the links."""
    real = tmp_path / "real"
    real.mkdir()
    image = closed_file(real / "disk.img")
    (tmp_path / "alias").symlink_to("real")
    (tmp_path / "link.img").symlink_to(image)
    through, link = tmp_path / "alias" / "disk.img", tmp_path / "link.img"
    for granted in (through, link):
        outcome = opened(
            spawner, [[str(granted), "w"], [str(image), "w"]], files=[[str(granted), "rw"]]
        )
        assert outcome == {f"{granted} w": "ok", f"{image} w": "ok"}


def test_a_file_within_a_directory_that_is_granted_otherwise(
    spawner: Harness, tmp_path: Path
) -> None:
    """The lab's directory is readable, one image in it is to be written.  Red when ``lay`` goes
    through them in another order."""
    image, program = closed_file(tmp_path / "data.img"), tmp_path / "program.py"
    program.write_text("")
    outcome = opened(
        spawner,
        [[str(image), "w"], [str(program), "r"], [str(program), "w"]],
        files=[[str(image), "rw"]],
        path=[str(tmp_path)],
    )
    assert outcome[f"{image} w"] == outcome[f"{program} r"] == "ok"
    assert outcome[f"{program} w"] in {"EROFS", "EACCES"}


def test_a_granted_file_that_is_not_there_is_named(spawner: Harness, tmp_path: Path) -> None:
    """And it is no wall that is missing."""
    with pytest.raises(SpawnFailed, match=r"gone\.img: No such file or directory") as failure:
        spawner.spawn("reach", files=[[str(tmp_path / "gone.img"), "rw"]])
    assert "walls" not in str(failure.value)


def test_a_file_that_disappears_later_stays_open(spawner: Harness, tmp_path: Path) -> None:
    """And its directory can be removed while a domain has it."""
    folder = tmp_path / "away"
    folder.mkdir()
    image = closed_file(folder / "disk.img")
    child = spawner.spawn("idle", files=[[str(image), "rw"]])
    assert child.receive() == "up"
    image.unlink()
    folder.rmdir()
    child.conn.send(b"x")
    assert spawner.receive()[0][0] == "exited"


@contextlib.contextmanager
def loop_device(image: Path) -> Iterator[str]:
    """The name of a loop device over *image* (loop(4)); skips where there are none."""
    with contextlib.ExitStack() as stack:
        try:
            with open("/dev/loop-control", "rb") as control:
                device = f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}"
            loop = stack.enter_context(open(device, "r+b", buffering=0))
            backing = stack.enter_context(image.open("r+b"))
            fcntl.ioctl(loop, LOOP_SET_FD, backing.fileno())
        except OSError as error:
            pytest.skip(f"no loop device here: {error}")
        stack.callback(fcntl.ioctl, loop, LOOP_CLR_FD)
        yield device


def test_a_block_device_is_a_disk(spawner: Harness, tmp_path: Path) -> None:
    """A driver domain may serve one, though no other mount of it shows devices.  Red with NODEV on
    every grant."""
    if os.geteuid():
        pytest.skip("only root has loop devices")
    image = tmp_path / "backing.img"
    image.write_bytes(bytes(1 << 20))
    with loop_device(image) as device:
        both = [[device, "r"], [device, "w"]]
        found = opened(spawner, both, files=[[device, "rw"]], profile="driver")
        assert set(found.values()) == {"ok"}
        found = opened(spawner, both, files=[[device, "r"]], profile="driver")
        assert found[f"{device} r"] == "ok"
        assert found[f"{device} w"] in {"EACCES", "EROFS", "EPERM"}
        found = opened(spawner, both, profile="driver")
        assert found == {f"{device} r": "ENOENT", f"{device} w": "ENOENT"}


def test_many_skeletons_do_not_pile_up(spawner: Harness, tmp_path: Path) -> None:
    """Beyond a number of them each domain makes its own; all work.  Red without the bound: the
    mounts of the warden grow with every path that was ever granted."""
    images = [closed_file(tmp_path / f"{number}.img") for number in range(12)]
    for image in images:
        assert opened(spawner, [[str(image), "w"]], files=[[str(image), "rw"]]) == {
            f"{image} w": "ok"
        }
    own = f"/proc/{spawner.warden()}/mountinfo"
    mounts = [line for line in Path(own).read_text().splitlines() if " /proc/" in line]
    skeletons = {line.split(" /proc/")[1].split("/")[0].split()[0] for line in mounts}
    assert 0 < len(skeletons) <= 8


@pytest.mark.parametrize(("path", "what"), [("/", "whole machine"), ("/proc/uptime", "files of")])
def test_what_cannot_be_granted_is_said(spawner: Harness, path: str, what: str) -> None:
    with pytest.raises(SpawnFailed, match=rf"{path}: .*{what}.* cannot be granted"):
        spawner.spawn("idle", files=[[path, "r"]])


@pytest.fixture
def unmapped(tmp_path: Path) -> Iterator[Path]:
    """A file that only root may touch, on a file system that can be shown to nobody else."""
    if os.geteuid():
        pytest.skip("an ordinary user's domain is the same user: nothing has to be mapped")
    folder = tmp_path / "ram"
    folder.mkdir()
    try:
        mount("ramfs", str(folder), "ramfs", 0)
    except OSError as error:
        pytest.skip(f"no ramfs can be mounted here: {error}")
    try:
        file = folder / "secret"
        file.write_text("x")
        file.chmod(0o600)
        yield file
    finally:
        umount(str(folder), MNT_DETACH)


def test_what_a_file_system_cannot_show_is_said_in_a_sentence(unmapped: Path) -> None:
    """An overlay, a network mount: the file is the owner's alone, and nothing is opened for it.

    Without the root directory the other walls are raised, and those that go with it are told.
    """
    with Harness() as spawner:
        with pytest.raises(SpawnFailed) as failure:
            spawner.spawn("reach", files=[[str(unmapped), "rw"]])
        text = str(failure.value)
        assert f"{unmapped}: its file system cannot show it" in text
        assert os.strerror(errno.EINVAL) in text
        assert "let everybody read and write it" in text
        child = spawner.spawn("idle", files=[[str(unmapped), "rw"]], walls="what-there-is")
        names = {entry.partition(":")[0] for entry in child.missing}
        assert names == {"root", "own-uid"}
        assert child.receive() == "up"
