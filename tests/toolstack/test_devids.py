"""Device numbers, as libxl counts them."""

import pytest

from hvsim.toolstack.devids import MAX_DEVID, MAX_DISK, devid, vdev_name


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
        ("d0", 51712),
        ("d1p2", 51730),
        ("hda", 768),
        ("hdb1", 833),
        ("hdc", 5632),
        ("sda", 2048),
        ("sdb1", 2065),
        ("51712", 51712),
    ],
)
def test_numbers_of_names(name: str, number: int) -> None:
    assert devid(name) == number


@pytest.mark.parametrize(
    "name",
    [
        "",
        "xvd",
        "xvdA",
        "xvda256",
        "xvdzz9999",
        "hde",
        "hda64",
        "sdq",
        "sda16",
        "sdaa",
        "vda",
        f"d{MAX_DISK + 1}",
        str(MAX_DEVID + 1),
        "xvda ",
        "-1",
        "xvdaaaaaa",
        "\u0661",
    ],
)
def test_what_is_no_name(name: str) -> None:
    assert devid(name) is None


def test_names_and_numbers_are_each_others_inverse() -> None:
    for disk in (*range(60), 700, 701, 702, 18277, MAX_DISK):
        for partition in (0, 1, 15, 16, 255):
            number = devid(f"d{disk}p{partition}")
            assert number is not None
            assert devid(vdev_name(number)) == number
