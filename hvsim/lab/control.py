"""Client of the control wire: how tools talk to the toolstack daemon of a running lab.

A request is one msgpack map with a verb; the answer is a row of maps: text to print ("out",
"err", or bytes "raw"), and last {"exit": code, "data": anything}. ZeroMQ DEALER to ROUTER
over ipc://<run>/control.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

from hvsim.lab.problems import HvsimError
from hvsim.wire.endpoints import endpoint
from hvsim.wire.packing import MALFORMED, pack, unpack

MESSAGE_MAX = 4 << 20
"""Bytes of a request; the toolstack hangs up on who sends more."""
TIMEOUT = 30.0
"""Seconds without any frame after which an ordinary request is given up."""

Printer = Callable[[str], None]


class ControlError(HvsimError):
    """The toolstack daemon did not answer as agreed."""


class ControlTimeout(ControlError):
    """The toolstack daemon did not answer in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: the exit code, what was said, and the data."""

    exit: int
    out: str
    err: str
    data: Any

    @property
    def errors(self) -> list[str]:
        """The lines of what was said on standard error."""
        return self.err.strip().split("\n") if self.err.strip() else []


def _ignore(_: str) -> None:
    pass


class Control:
    """One conversation with a toolstack daemon; close it, or use it as a context manager.

    `alive` is asked while waiting; when it says False the wait ends at once, as nobody is
    left to answer.
    """

    def __init__(self, socket_path: Path, *, alive: Callable[[], bool] = lambda: True) -> None:
        self.path = socket_path
        self.alive = alive
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 5)  # ms: a daemon that starts now is soon there
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 50)
        self._socket.connect(endpoint(f"ipc://{socket_path}"))

    def __enter__(self) -> "Control":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. The daemon forgets this conversation."""
        self._socket.close()
        self._context.term()

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """The DEALER, for a caller that waits for something else as well (a console)."""
        return self._socket

    def send(self, request: Mapping[str, Any]) -> None:
        """Send one map, without waiting for the answer.

        Raises ControlError for one that cannot be sent: what no message holds, or too much.
        """
        try:
            packed = pack(dict(request))
        except (ValueError, TypeError, OverflowError) as error:
            verb = request.get("verb")
            raise ControlError(f"{verb}: a value that cannot be sent ({error})") from None
        if len(packed) > MESSAGE_MAX:
            raise ControlError(
                f"{request.get('verb')}: a request of {len(packed)} bytes, and the toolstack "
                f"takes {MESSAGE_MAX}: make its words or its config shorter"
            )
        self._socket.send(packed)

    def receive(self, timeout: float) -> dict[str, Any] | None:
        """The next map within `timeout` seconds; None when none came."""
        if not self._socket.poll(max(0, int(timeout * 1000))):
            return None
        try:
            frame = unpack(self._socket.recv())
        except MALFORMED as error:
            raise ControlError(f"{self.path}: the answer is not msgpack ({error})") from None
        if not isinstance(frame, dict):
            raise ControlError(f"{self.path}: the answer {frame!r} is not a map")
        return frame

    def request(
        self,
        verb: str,
        *,
        patience: float | None = TIMEOUT,
        out: Printer = _ignore,
        err: Printer = _ignore,
        **fields: Any,
    ) -> Answer:
        """Send one request and collect its answer; texts go to `out` and `err` as they come.

        `patience` (seconds; None: for ever, as `xl shutdown -w` may take) counts from the last
        frame. Raises ControlTimeout, naming what was waited for.
        """
        self.send({"verb": verb, **fields})
        said: dict[str, list[str]] = {"out": [], "err": []}
        printers = {"out": out, "err": err}
        last = time.monotonic()
        while True:
            frame = self.receive(0.1)
            if frame is None:
                self._still_hoping(verb, last, patience)
                continue
            last = time.monotonic()
            for stream, printer in printers.items():
                if stream in frame:
                    said[stream].append(str(frame[stream]))
                    printer(str(frame[stream]))
            if "exit" in frame:
                return Answer(
                    int(frame["exit"]),
                    "".join(said["out"]),
                    "".join(said["err"]),
                    frame.get("data"),
                )

    def _still_hoping(self, verb: str, last: float, patience: float | None) -> None:
        if not self.alive():
            raise ControlError(
                f"the lab at {self.path.parent} ended while {verb!r} was under way; "
                "its logs say why, if it is still there: `hvsim labs`"
            )
        if patience is not None and time.monotonic() - last > patience:
            raise ControlTimeout(
                f"{self.path}: no answer to {verb!r} within {patience:g} s; is the toolstack "
                f"stalled? Its log: {self.path.parent / 'log' / 'toolstack.log'}"
            )

    def data(self, verb: str, *, patience: float | None = TIMEOUT, **fields: Any) -> Any:
        """The data of a request that must succeed. Raises ControlError with its error text."""
        answer = self.request(verb, patience=patience, **fields)
        if answer.exit:
            raise ControlError(*(answer.errors or [f"{verb} failed with exit code {answer.exit}"]))
        return answer.data
