"""Mappings with an end that can be relied upon."""

import fcntl
import gc
import os
from collections.abc import Iterator

import pytest

from hvsim.abi.memory import PAGE_SIZE
from hvsim.domain.shm import SharedPages


@pytest.fixture
def memfd() -> Iterator[int]:
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4 * PAGE_SIZE)
    for page in range(4):
        os.pwrite(fd, bytes([page + 1]) * PAGE_SIZE, page * PAGE_SIZE)
    yield fd
    os.close(fd)


def mapped(fd: int) -> int:
    """How many mappings of the object this process has (memfds share a device; inodes differ)."""
    inode = str(os.fstat(fd).st_ino)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        lines = [line.split() for line in maps]
    return sum(len(line) > 5 and line[4] == inode and "memfd:test" in line[5] for line in lines)


def test_reads_and_writes_the_shared_pages(memfd: int) -> None:
    pages = SharedPages([(memfd, 1, 2)])
    assert pages.view[0] == 2
    assert pages.view[PAGE_SIZE] == 3
    pages.view[5] = 99
    assert os.pread(memfd, 1, PAGE_SIZE + 5) == b"\x63"
    assert pages.view.nbytes == pages.size == 2 * PAGE_SIZE
    pages.close()


def test_scattered_pages_lie_side_by_side(memfd: int) -> None:
    pages = SharedPages([(memfd, 3, 1), (memfd, 0, 1), (memfd, 2, 1)])
    assert [pages.view[i * PAGE_SIZE] for i in range(3)] == [4, 1, 3]
    pages.view[PAGE_SIZE - 1 : PAGE_SIZE + 1] = b"ab"
    assert os.pread(memfd, 1, 4 * PAGE_SIZE - 1) == b"a"
    assert os.pread(memfd, 1, 0) == b"b"
    assert mapped(memfd) == 3
    pages.close()
    assert mapped(memfd) == 0


def test_a_touch_after_close_raises(memfd: int) -> None:
    pages = SharedPages([(memfd, 0, 1)])
    view = pages.view
    pages.close()
    pages.close()
    assert pages.closed
    assert mapped(memfd) == 0
    with pytest.raises(ValueError, match="unmapped"):
        _ = pages.view
    with pytest.raises(ValueError, match="released"):
        _ = view[0]


def test_a_slice_that_outlives_the_mapping_reaches_nothing_shared(memfd: int) -> None:
    pages = SharedPages([(memfd, 0, 1)])
    left = pages.view[:16]
    assert left[0] == 1
    pages.close()
    assert mapped(memfd) == 0, "the shared page is gone though a slice lives"
    assert left[0] == 0
    left[0] = 7
    assert os.pread(memfd, 1, 0) == b"\x01"
    del left
    gc.collect()


def test_read_only_pages_cannot_be_written(memfd: int) -> None:
    pages = SharedPages([(memfd, 0, 1)], writable=False)
    assert pages.view.readonly
    with pytest.raises(TypeError):
        pages.view[0] = 1
    pages.close()


def test_the_descriptor_may_be_closed_at_once() -> None:
    fd = os.memfd_create("test", os.MFD_CLOEXEC)
    os.ftruncate(fd, PAGE_SIZE)
    pages = SharedPages([(fd, 0, 1)])
    os.close(fd)
    pages.view[0] = 1
    assert pages.view[0] == 1
    pages.close()


def test_a_bad_descriptor_leaves_nothing_mapped(memfd: int) -> None:
    with pytest.raises(OSError, match="mmap"):
        SharedPages([(memfd, 0, 1), (-1, 0, 1)])
    assert mapped(memfd) == 0


def test_a_sealed_object_refuses_a_writable_mapping(memfd: int) -> None:
    future_write = 0x10  # F_SEAL_FUTURE_WRITE
    fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, future_write)
    with pytest.raises(PermissionError):
        SharedPages([(memfd, 0, 1)])
    SharedPages([(memfd, 0, 1)], writable=False).close()
