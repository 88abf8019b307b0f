"""Virtual disks and their numbers, as libxl counts them; seen red with the former parser, which
took xvda0 for a disk."""

import pytest

from hvsim.names import vdev
from hvsim.names.vdev import MAX_DISK, MAX_NUMBER


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("xvda", 51712),
        ("xvdb", 51728),
        ("xvdp", 51952),
        ("xvda1", 51713),
        ("xvdb15", 51743),
        ("xvdq", 268439552),
        ("xvdz", (1 << 28) | (25 << 8)),
        ("xvdaa", (1 << 28) | (26 << 8)),
        ("xvda16", (1 << 28) | 16),
        ("d0p0", 51712),
        ("d1p2", 51730),
        ("hda", 768),
        ("hdb1", 833),
        ("hdc", 5632),
        ("sda", 2048),
        ("sdb1", 2065),
        ("51712", 51712),
        ("0xca00", 51712),
        ("012", 10),
    ],
)
def test_numbers_of_names(name: str, number: int) -> None:
    assert vdev.parse(name) == number


@pytest.mark.parametrize(
    "name",
    [
        "",
        "xvd",
        "xvda0",
        "xvda01",
        "d0",
        "08",
        "/dev/xvda",
        "xvdA",
        "xvda256",
        "xvdzz9999",
        "hde",
        "hda64",
        "sdq",
        "sda16",
        "sdaa",
        "vda",
        f"d{MAX_DISK + 1}p0",
        str(MAX_NUMBER + 1),
        "xvda ",
        "-1",
        "xvdaaaaaa",
        "\u0661",
    ],
)
def test_what_is_no_name(name: str) -> None:
    assert vdev.parse(name) is None


def test_names_and_numbers_are_each_others_inverse() -> None:
    for disk in (*range(60), 700, 701, 702, 18277, MAX_DISK):
        for partition in (0, 1, 15, 16, 255):
            number = vdev.parse(f"d{disk}p{partition}")
            assert number is not None
            assert vdev.parse(vdev.name(number)) == number


def test_a_program_in_a_guest_may_say_dev_in_front() -> None:
    assert vdev.of_guest("/dev/xvda") == vdev.of_guest("xvda") == vdev.of_guest(51712) == 51712
    for nonsense in ("/dev/sda1x", "", "xvda0", -1):
        with pytest.raises(ValueError, match="is no virtual disk"):
            vdev.of_guest(nonsense)
