"""What a command says while it runs: text for stdout and stderr, bytes of a console, data."""

import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Reply:
    """The answer to one request, on its way to who asked.

    Attributes:
        data: what the answer's last frame carries.
        stamped: the date and the process stand before each line of a log (``xl -T``).
    """

    def __init__(self, send: Send) -> None:
        self._send: Final = send
        self.data: Any = None
        self.stamped = False

    async def out(self, text: str) -> None:
        """A line (or several) for stdout."""
        await self._send({"out": text + "\n"})

    async def text(self, text: str) -> None:
        """Text for stdout as it is."""
        await self._send({"out": text})

    async def err(self, *lines: str) -> None:
        """Lines for stderr."""
        if self.stamped:
            now = f"{time.strftime('%Y-%m-%d %H:%M:%S %Z')} [{os.getpid()}] "
            lines = tuple(now + line if _LOGGED.match(line) else line for line in lines)
        if lines:
            await self._send({"err": "".join(f"{line}\n" for line in lines)})

    async def finish(self, code: int) -> None:
        """The last frame."""
        await self._send({"exit": code, "data": self.data})


_LOGGED: Final = re.compile(r"(libxl|xc|domainbuilder|xencall:buffer): ")
