"""The figures of one half of a device, told to the toolstack when it asks.

    Counters(dom, device, lambda: {"rx_packets": ...})      # in probe

The toolstack writes ``statistics`` = "<token>" into the device's own directory, the half answers
with ``statistics-now`` = "<token> name=number ...", and the toolstack takes both away. Between two
questions there is nothing in the store and nothing to do; a half that is stalled does not answer,
and the figures are then not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from hvsim.xs.client import StoreError

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.xenbus.device import BackendDevice, FrontendDevice

REQUEST_KEY: Final = "statistics"
ANSWER_KEY: Final = "statistics-now"
ANSWER_MAX: Final = 2000
"""Bytes of an answer; what does not fit is left out."""
_PAIR: Final = re.compile(r"([a-z0-9_-]{1,40})=([0-9]{1,20})")


class Counters:
    """Answers for one half.  `figures` is called when the toolstack asks; it must not raise."""

    def __init__(
        self,
        dom: Domain,
        device: FrontendDevice | BackendDevice,
        figures: Callable[[], Mapping[str, int]],
    ) -> None:
        self._dom = dom
        self._device = device
        self._figures = figures
        self._answered = ""
        device.listen(REQUEST_KEY, self._asked)

    def _asked(self) -> None:
        token = self._device.read(REQUEST_KEY)
        if not token or token == self._answered:
            return
        self._answered = token
        try:
            self._device.write(ANSWER_KEY, answer(token, self._figures()))
        except StoreError as error:
            self._dom.log(f"{self._device.nodename}: cannot tell its statistics: {error}")


def answer(token: str, figures: Mapping[str, int]) -> str:
    """The value of ANSWER_KEY."""
    text = token[:40]
    for name, number in figures.items():
        pair = f" {name}={number}"
        if len(text) + len(pair) > ANSWER_MAX:
            break
        text += pair
    return text


def parse(text: str, token: str) -> dict[str, int] | None:
    """The figures in an answer to *token*; None for an answer to somebody else.  What a half
    says besides is not believed: pairs that are none are left out."""
    said, *pairs = text.split(" ")
    if said != token:
        return None
    found = (_PAIR.fullmatch(pair) for pair in pairs)
    return {match[1]: int(match[2]) for match in found if match}
