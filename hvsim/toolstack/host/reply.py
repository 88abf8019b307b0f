"""What a command says while it runs: text for stdout and stderr, bytes of a console, data."""

import os
import re
import time
from collections.abc import Callable, Iterable
from typing import Final

from hvsim.printable import as_json, line
from hvsim.wire.control import Err, Exit, Frame, Out

_LOGGED: Final = re.compile(r"(libxl|xc|domainbuilder|xencall:buffer): ")

Send = Callable[[Frame], None]


class Reply:
    """The answer to one request, on its way to who asked, who is not waited for.

    Attributes:
        data: what the answer's last frame carries.
        stamped: the date and the process stand before each line of a log (``xl -T``).
    """

    def __init__(self, send: Send) -> None:
        self._send: Final = send
        self.data: object = None
        self.stamped = False

    async def out(self, *lines: str) -> None:
        """Lines for stdout; what is no character to be shown is escaped, line breaks as well."""
        if lines:
            self._send(Out(_text(lines)))

    async def text(self, text: str) -> None:
        """Several lines of ours for stdout, each as `out` shows it."""
        if text:
            await self.out(*text.removesuffix("\n").split("\n"))

    async def json(self, value: object) -> None:
        """JSON for stdout, and the answer's data."""
        self.data = value
        self._send(Out(as_json(value, 4) + "\n"))

    async def err(self, *lines: str) -> None:
        """Lines for stderr, as those of `out`."""
        if self.stamped:
            now = f"{time.strftime('%Y-%m-%d %H:%M:%S %Z')} [{os.getpid()}] "
            lines = tuple(now + one if _LOGGED.match(one) else one for one in lines)
        if lines:
            self._send(Err(_text(lines)))

    async def finish(self, code: int) -> None:
        """The last frame."""
        self._send(Exit(code, self.data))


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line(one)}\n" for one in lines)
