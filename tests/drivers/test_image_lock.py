"""Locks of images: who stands in whose way, and that a lock dies with its last holder.

Seen red with the own byte looked for as well (a rebuild blocks itself), with only writers looked
for by writers, and with classic fcntl locks (any close of the file in the process drops them).
"""

import os
from pathlib import Path

import pytest

from hvsim.drivers.block import lock
from hvsim.drivers.block.lock import ImageBusy

OURS, THEIRS = 17, 4711


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "a.img"
    path.write_bytes(bytes(4096))
    return str(path)


@pytest.mark.parametrize(
    ("first", "second", "busy"),
    [("w", "w", True), ("w", "r", True), ("r", "w", True), ("r", "r", False)],
)
def test_one_writer_or_many_readers(image: str, first: str, second: str, busy: bool) -> None:
    fd = lock.claim(image, OURS, readonly=first == "r")
    try:
        if not busy:
            os.close(lock.claim(image, THEIRS, readonly=second == "r"))
            return
        with pytest.raises(ImageBusy) as refused:
            lock.claim(image, THEIRS, readonly=second == "r")
        assert (refused.value.owner, refused.value.writes) == (OURS, first == "w")
        assert lock.look(image, THEIRS, readonly=second == "r") is not None
    finally:
        os.close(fd)
    os.close(lock.claim(image, THEIRS, readonly=second == "r"))


def test_a_refusal_leaves_no_lock(image: str) -> None:
    fd = lock.claim(image, OURS, readonly=False)
    with pytest.raises(ImageBusy):
        lock.claim(image, THEIRS, readonly=False)
    assert lock.look(image, OURS, readonly=False) is None
    os.close(fd)


@pytest.mark.parametrize("other", [0, OURS - 1, OURS + 1, lock.OWNERS - 1])
def test_neighbours_on_the_scale_are_others_too(image: str, other: int) -> None:
    fd = lock.claim(image, other, readonly=True)
    busy = lock.look(image, OURS, readonly=False)
    assert busy is not None
    assert (busy.owner, busy.writes) == (other, False)
    os.close(fd)


def test_processes_of_one_lab_bear_each_other(image: str) -> None:
    first = lock.claim(image, OURS, readonly=False)
    second = lock.claim(image, OURS, readonly=False)
    os.close(first)
    assert lock.look(image, THEIRS, readonly=True) is not None
    # Another descriptor of the file that is closed takes nothing along.
    os.close(os.open(image, os.O_RDONLY))
    assert lock.look(image, THEIRS, readonly=True) is not None
    os.close(second)
    assert lock.look(image, THEIRS, readonly=False) is None


def test_every_name_of_a_file_is_the_file(image: str, tmp_path: Path) -> None:
    (tmp_path / "hard").hardlink_to(image)
    (tmp_path / "soft").symlink_to(image)
    fd = lock.claim(image, OURS, readonly=False)
    for name in ("hard", "soft"):
        assert lock.look(str(tmp_path / name), THEIRS, readonly=False) is not None
        assert lock.identity(str(tmp_path / name)) == lock.identity(image)
    os.close(fd)


def test_a_lock_dies_with_its_holder(image: str) -> None:
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(go[1])
            lock.claim(image, THEIRS, readonly=False)
            os.write(ready[1], b"x")
            os.read(go[0], 1)
        finally:
            os._exit(0)
    os.close(ready[1])
    assert os.read(ready[0], 1) == b"x"
    assert lock.look(image, OURS, readonly=False) is not None
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert lock.look(image, OURS, readonly=False) is None
    for fd in (ready[0], *go):
        os.close(fd)


def test_who_shares_looks_at_nobody_and_is_seen(image: str) -> None:
    first = lock.claim(image, OURS, readonly=False)
    second = lock.claim(image, THEIRS, readonly=False, shared=True)
    os.close(first)
    assert lock.look(image, OURS, readonly=True) is not None
    os.close(second)


def test_numbers_of_labs(tmp_path: Path) -> None:
    one, other = lock.owner_of(str(tmp_path / "a")), lock.owner_of(str(tmp_path / "b"))
    assert one != other
    assert one == lock.owner_of(f"{tmp_path}/b/../a")
    assert 0 <= one < lock.OWNERS
    assert lock.owner_in({"run_dir": str(tmp_path / "a")}) == one
    assert lock.owner_in({"image_owner": 5, "run_dir": "/x"}) == 5
    assert lock.owner_in({"image_owner": -1}) is None
    assert lock.owner_in({}) is None
