"""The file of a capture, from the answers of a toolstack."""

import io
import struct
from collections.abc import Iterator
from typing import Any, cast

import pytest

from hvsim.lab.control import Control
from hvsim.observe.capture import Capture, Limits
from hvsim.wire.lab_requests import Capture as Request

ABOUT: dict[str, Any] = {
    **{"session": 1, "vif": "vif3.0", "guest": "near", "guest_domid": 3, "devid": 0},
    **{"mac": "", "domid": 1, "tapped": "network", "side": "back"},
}


class Toolstack:
    """Answers a capture's requests: the readings in turn, of which the last one is the end."""

    def __init__(self, *readings: int) -> None:
        self._readings = iter(readings)

    def data(self, request: Request) -> dict[str, Any]:
        if request.action == "start":
            return ABOUT
        domid = next(self._readings)
        rest = next(self._readings, None)
        self._readings = iter([] if rest is None else [rest, *self._readings])
        return {
            **{"domid": domid, "seen": 0, "dropped": 0, "records": b""},
            "ended": "" if rest is not None else "that is all",
        }


def interfaces(data: bytes) -> Iterator[str]:
    """The names in the interface description blocks (pcapng, section 4.2)."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if kind == 1:
            yield "network" if b"network" in data[at : at + length] else "another"
        at += length


@pytest.mark.parametrize(
    ("readings", "wanted"),
    [
        ([1, 1], ["network"]),
        ([1, 4], ["network", "another"]),
        # Red when the first answer is taken for the domain that was there at the start.
        ([4, 4], ["network", "another"]),
    ],
)
def test_each_domain_is_an_interface(readings: list[int], wanted: list[str]) -> None:
    out = io.BytesIO()
    capture = Capture(cast(Control, Toolstack(*readings)), out, "back", 100)
    capture.start("near")
    capture.run(Limits(None, None))
    assert list(interfaces(out.getvalue())) == wanted
