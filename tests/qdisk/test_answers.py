"""Every kind of request to a real QEMU's qdisk, and every kind that must be refused.

Seen red: with grant copies of our nodes that report success for every segment (a bad grant is
answered with 0), and with a QEMU that is killed at the end instead of asked (leaked clusters).
"""

import shutil
from pathlib import Path

import pytest

from tests.support.qdisk_labs import FORMATS, Image, running

pytestmark = pytest.mark.interop

PROGRAM = Path(__file__).parent / "programs" / "exercise.py"
OKAY, ERROR = "0", "-1"
REFUSED = (
    "read past the end",
    "write past the end",
    "sector overflow",
    "read into a bad grant",
    "write from a bad grant",
    "first after last",
    "beyond the page",
    "reserved operation",
    "unknown operation",
    "twelve segments",
    "indirect",
    "discard past the end",
)
"""QEMU 7.2 has one status for all of them; it offers no indirect requests."""


@pytest.mark.parametrize("format", FORMATS)
def test_requests_and_refusals(tmp_path: Path, format: str) -> None:
    shutil.copy(PROGRAM, tmp_path)
    image = Image(tmp_path / "disk", format).make("16M")
    with running(tmp_path, image.disk(), "exercise:main") as lab:
        answers = lab.answers()
    assert "failure" not in answers
    assert answers["done"] == "yes"
    assert answers["sectors"] == str(16 * 2048)
    assert answers["most segments"] == "11"
    for when in ("", "again "):
        for pages in (1, 2, 11, 12, 256):
            assert answers[f"{when}{pages} pages"] == "True"
        for what in ("across pages", "last sector", "discarded"):
            assert answers[f"{when}{what}"] == "True", what
    assert {name: answers[name] for name in REFUSED} == dict.fromkeys(REFUSED, ERROR)
    assert answers["flush"] == OKAY
    assert {answers[f"after {name}"] for name in (*REFUSED, "flush")} == {"True"}
    image.must_be_clean()
