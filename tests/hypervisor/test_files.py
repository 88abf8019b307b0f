"""Files that dom0 lends to a domain.  Seen red: with a borrow that looks at nobody's name."""

import os
from pathlib import Path

import pytest

from hvsim.abi.errno import EACCES, EINVAL, ENOENT, ENOSPC, EPERM
from hvsim.abi.hypercall import (
    HVSIM_DOMCTL_lend,
    HVSIM_OP_borrow,
    HYPERVISOR_domctl,
    HYPERVISOR_hvsim_op,
)
from hvsim.hypervisor.ops.files import MAX_LENT
from tests.hypervisor.client import Dom, Lab


def lend(lab: Lab, domid: int, path: Path | str, mode: str, expect: int = 0) -> None:
    lab.dom0.call(HYPERVISOR_domctl, HVSIM_DOMCTL_lend, domid, str(path), mode, expect=expect)


def borrow(guest: Dom, path: Path, mode: str) -> int:
    _, (fd,) = guest.call_fds(HYPERVISOR_hvsim_op, HVSIM_OP_borrow, str(path), mode)
    return fd


def refused(guest: Dom, path: Path, mode: str) -> None:
    guest.call(HYPERVISOR_hvsim_op, HVSIM_OP_borrow, str(path), mode, expect=ENOENT)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(b"image")
    return path


def test_a_file_is_lent_to_one_domain_by_name_and_mode(lab: Lab, file: Path) -> None:
    one, other = lab.guest(), lab.guest()
    refused(one, file, "r")
    lend(lab, one.domid, file, "r")
    fd = borrow(one, file, "r")
    assert os.pread(fd, 9, 0) == b"image"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(fd, b"x", 0)
    refused(one, file, "w")
    refused(other, file, "r")
    lend(lab, one.domid, file, "w")
    fd = borrow(one, file, "w")
    os.pwrite(fd, b"I", 0)
    assert file.read_bytes() == b"Image"
    lend(lab, one.domid, file, "")
    for mode in ("r", "w"):
        refused(one, file, mode)


def test_it_is_the_file_of_that_moment(lab: Lab, file: Path) -> None:
    guest = lab.guest()
    lend(lab, guest.domid, file, "r")
    file.rename(file.with_name("old"))
    file.write_bytes(b"another")
    fd = borrow(guest, file, "r")
    assert os.pread(fd, 9, 0) == b"image"


def test_who_may_lend_and_what(lab: Lab, file: Path) -> None:
    guest = lab.guest()
    guest.call(HYPERVISOR_domctl, HVSIM_DOMCTL_lend, guest.domid, str(file), "r", expect=EPERM)
    os.mkfifo(file.with_name("pipe"))
    for path, mode, errno in (
        (file.with_name("nosuch"), "r", ENOENT),
        (file.with_name("pipe"), "r", EINVAL),
        (file.parent, "r", EINVAL),
        ("/dev/null", "r", EINVAL),
        ("image", "r", EINVAL),
        (file, "rw", EINVAL),
    ):
        lend(lab, guest.domid, path, mode, expect=errno)
    if os.getuid():
        file.chmod(0o444)
        lend(lab, guest.domid, file, "w", expect=EACCES)


def test_a_domain_has_so_many_at_most(lab: Lab, file: Path) -> None:
    guest = lab.guest()
    for number in range(MAX_LENT):
        path = file.with_name(f"image{number}")
        path.touch()
        lend(lab, guest.domid, path, "r")
    lend(lab, guest.domid, file, "r", expect=ENOSPC)
    lab.destroy(guest.domid)
