"""Client of the control wire: how tools talk to the toolstack daemon of a running lab.

What is said, over the plain Unix socket <run>/control: `hvsim.wire.control`. Who hears nothing
finds out why (`silence`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hvsim.lab.answers import FIRST_LOOK, Answer, ControlError, RequestLost
from hvsim.lab.wire import Wire
from hvsim.wire.closing import Closing
from hvsim.wire.control import (
    Cancel,
    Err,
    Exit,
    Frame,
    Out,
    Status,
    Told,
    Xl,
    asking,
    frame,
    verb_of,
)
from hvsim.wire.endpoints import MESSAGE_MAX
from hvsim.wire.packing import MALFORMED, BadMessage, pack, unpack

if TYPE_CHECKING:
    from pathlib import Path

    from hvsim.lab.silence import Silence
    from hvsim.wire.lab_requests import Asked
    from hvsim.xs.waits import Waits

TIMEOUT = 30.0
"""Seconds without any frame after which an ordinary request is given up."""
CANCEL_LINGER = 0.2
"""Seconds in which the word that a request was given up must be on its way."""
AGAIN = ("ps", "ready")
"""Requests that are made again when the toolstack that had them has died: they only look."""
LOOKING = frozenset(
    {
        *("list", "vm-list", "vcpu-list", "cpupool-list", "block-list", "network-list"),
        *("info", "dmesg", "domid", "domname", "uptime", "claims", "sharing"),
    }
)
"""The commands of xl that only look; `dmesg` as far as it has no options."""

Printer = Callable[[str], None]


def _ignore(_: str) -> None:
    pass


class Control(Closing):
    """One conversation with a toolstack daemon; close it, or use it as a context manager.

    `alive` is asked while waiting; when it says False the wait ends at once, as nobody is
    left to answer. `waits` is how it waits, where that is not as the machine does.
    """

    def __init__(
        self,
        socket_path: Path,
        *,
        alive: Callable[[], bool] = lambda: True,
        waits: Waits | None = None,
    ) -> None:
        self.path = socket_path
        self.alive = alive
        self._asked = 0
        self._waits = waits
        self._wire = Wire(socket_path, waits)

    def close(self) -> None:
        """Hang up. The daemon forgets this conversation."""
        self._wire.close()
        if self._waits is not None:
            self._waits.close()

    def listener(self) -> int | None:
        """The process that listens for requests, None when nobody does."""
        return self._wire.listener()

    def send(self, message: Mapping[str, object]) -> None:
        """Send one map, without waiting for the answer.

        Raises ControlError for one that cannot be sent: what no message holds, or too much.
        """
        try:
            packed = pack(dict(message))
        except (ValueError, TypeError, OverflowError) as error:
            verb = message.get("verb")
            raise ControlError(f"{verb}: a value that cannot be sent ({error})") from None
        if len(packed) > MESSAGE_MAX:
            raise ControlError(
                f"{message.get('verb')}: a request of {len(packed)} bytes, and the toolstack "
                f"takes {MESSAGE_MAX}: make its words or its config shorter"
            )
        self._wire.send(packed)

    def receive(self, timeout: float) -> Frame | None:
        """The next part of an answer within `timeout` seconds; None when none came."""
        message = self._wire.receive(timeout)
        if message is None:
            return None
        try:
            return frame(unpack(message))
        except BadMessage as wrong:
            raise ControlError(f"{self.path}: {wrong}") from None
        except MALFORMED as error:
            raise ControlError(f"{self.path}: the answer is not msgpack ({error})") from None

    def request(
        self,
        request: Asked,
        *,
        patience: float | None = TIMEOUT,
        out: Printer = _ignore,
        err: Printer = _ignore,
    ) -> Answer:
        """Send one request and collect its answer; texts go to `out` and `err` as they come.

        `patience` (seconds; None: for ever, as `xl shutdown -w` may take) counts from the last
        frame. A request that only looks is made again when the toolstack dies meanwhile.

        Raises ControlError as soon as it is known that no answer will come, RequestLost when the
        toolstack has died; ControlTimeout, naming what was waited for.
        """
        self.send(asking(request))
        try:
            return self._collect(request, patience, out, err)
        except ControlError:
            self._give_up()
            raise
        except KeyboardInterrupt:
            if verb_of(request) != "stop":  # a lab that began to go down goes down
                self._give_up()
            raise

    def _collect(
        self, request: Asked, patience: float | None, out: Printer, err: Printer
    ) -> Answer:
        silence: Silence | None = None
        said: list[str] = []
        complained: list[str] = []
        before = self._asked
        while True:
            part = self.receive(FIRST_LOOK if silence is None else silence.step)
            if part is None:
                if silence is None:
                    silence = self._silence(request, patience, err)
                silence.look()
                continue
            if isinstance(part, Told):
                if silence is None or part.asked <= before:
                    continue  # about a request that was answered since
                try:
                    silence.told(part.status)
                except BadMessage as wrong:
                    raise ControlError(f"{self.path}: the status: {wrong}") from None
                except RequestLost:
                    if not only_looks(request) or said or complained:
                        raise
                    before = self._asked
                    silence.broken()
                    self.send(asking(request))
                continue
            if silence is not None:
                silence.broken()
            match part:
                case Out(text):
                    said.append(text)
                    out(text)
                case Err(text):
                    complained.append(text)
                    err(text)
                case Exit(code, data):
                    return Answer(code, "".join(said), "".join(complained), data)

    def _silence(self, request: Asked, patience: float | None, err: Printer) -> Silence:
        # Who gets an answer at once, as most do, needs nothing of it.
        from hvsim.lab.inquiry import Inquiry
        from hvsim.lab.silence import Silence

        inquiry, ask = Inquiry.beside(self.path), self._ask_status
        return Silence(
            _title(request), inquiry, ask, self.alive, patience, err, FIRST_LOOK, self._waits
        )

    def _ask_status(self) -> None:
        self._asked += 1
        self.send(asking(Status(self._asked)))

    def _give_up(self) -> None:
        """Tell a toolstack that may still come to it that nobody wants the request any more, and
        begin a conversation in which nothing is left of it."""
        self.send(asking(Cancel()))
        self._wire.flush(CANCEL_LINGER)
        self._wire.close()

    def data(self, request: Asked, *, patience: float | None = TIMEOUT) -> Any:
        """The data of a request that must succeed. Raises ControlError with its error text."""
        answer = self.request(request, patience=patience)
        if answer.exit:
            text = f"{verb_of(request)} failed with exit code {answer.exit}"
            raise ControlError(*(answer.errors or [text]))
        return answer.data


def _title(request: Asked) -> str:
    """A request in a few words, for the head of a sentence: "xl create", "ps"."""
    words = [word for word in request.argv if word[:1] != "-"] if isinstance(request, Xl) else []
    return " ".join([verb_of(request), *words[:1]])


def only_looks(request: Asked) -> bool:
    """Whether it can be made again, as nothing has come of it but an answer."""
    if not isinstance(request, Xl):
        return verb_of(request) in AGAIN
    from hvsim.toolstack.xl.table import find

    typed = _title(request).removeprefix("xl ")
    verb = find(typed)
    if verb is None or verb.name not in LOOKING:
        return False
    # Of dmesg's options one clears, and has abbreviations: with any of them it is not asked again.
    return verb.name != "dmesg" or request.argv[-1] == typed
