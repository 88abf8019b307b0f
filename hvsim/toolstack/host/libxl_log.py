"""libxl's log: what a command did step by step, for whoever asked with ``xl -v``.

A line names its place in libxl 4.17.7, as real lines do, so that what is known of one of them helps
with ours.  It goes to the command that runs (each runs in a context of its own) and nowhere else;
without ``-v`` a line costs a look at a context variable.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

DEBUG: Final = 3
DETAIL: Final = 1
"""How often -v is given at least."""

Send = Callable[[str], Awaitable[None]]


class Log:
    """The log of one command.

    Args:
        verbosity: how often -v was given.
        send: takes a line.
    """

    def __init__(self, verbosity: int, send: Send) -> None:
        self.verbosity = verbosity
        self.send = send
        self._watches = 0

    def slot(self) -> int:
        """A number for another watch."""
        self._watches += 1
        return self._watches - 1


_LOG: ContextVar[Log | None] = ContextVar("libxl log", default=None)


def begin(verbosity: int, send: Send) -> None:
    """From here on lines of this context go to *send*."""
    _LOG.set(Log(verbosity, send))


async def error(*lines: str) -> None:
    """Lines about what went wrong, after which libxl goes on: always wanted."""
    log = _LOG.get()
    if log is not None:
        for line in lines:
            await log.send(line)


def on(level: int = DEBUG) -> bool:
    """Whether lines of *level* are wanted: for lines that are dear to make."""
    log = _LOG.get()
    return log is not None and log.verbosity >= level


async def debug(where: str, text: str, domid: int | None = None) -> None:
    """A line about a step.  *where*: ``file.c:line:function``."""
    await _say(DEBUG, "libxl: debug", where, text, domid)


async def detail(where: str, text: str) -> None:
    """A line about what was chosen."""
    await _say(DETAIL, "libxl: detail", where, text, None)


async def builder(text: str) -> None:
    """A line of the domain builder (libxenguest)."""
    await _say(DETAIL, "domainbuilder: detail", "", text, None)


async def _say(level: int, start: str, where: str, text: str, domid: int | None) -> None:
    log = _LOG.get()
    if log is not None and log.verbosity >= level:
        place = f"{where}: " if where else ""
        domain = "" if domid is None else f"Domain {domid}:"
        await log.send(f"{start}: {place}{domain}{text}")


def pointer(thing: object) -> str:
    """How C prints where something is."""
    return f"{id(thing):#x}"


class Operation:
    """libxl's ao: an operation that takes a while."""

    def __init__(self, create: str, progress: str, domid: int | None) -> None:
        self._create = create
        self._progress = progress
        self._domid = domid
        self._told = False

    async def create(self) -> None:
        """It begins."""
        text = f"ao {pointer(self)}: create: how=(nil) callback=(nil) poller={pointer(_LOG)}"
        await debug(self._create, text, self._domid)

    async def in_progress(self, flags: str = "i") -> None:
        """Its first wait; said once."""
        if not self._told:
            self._told = True
            text = f"ao {pointer(self)}: inprogress: poller={pointer(_LOG)}, flags={flags}"
            await debug(self._progress, text, self._domid)

    async def complete(self, rc: int) -> None:
        """It is over."""
        await debug(
            "libxl_event.c:2067:libxl__ao_complete", f"ao {pointer(self)}: complete, rc={rc}"
        )
        if not self._told:
            await self.in_progress("ic")
        await debug("libxl_event.c:2036:libxl__ao__destroy", f"ao {pointer(self)}: destroy")


_AO: ContextVar[Operation | None] = ContextVar("libxl ao", default=None)


@asynccontextmanager
async def operation(create: str, progress: str, domid: int | None = None) -> AsyncIterator[None]:
    """The block is an operation; *create* and *progress*: where libxl says that it begins, and
    that it waits."""
    made = Operation(create, progress, domid)
    before = _AO.get()
    await made.create()
    _AO.set(made)
    try:
        yield
    finally:
        _AO.set(before)
    await made.complete(0)


class WatchLog:
    """What libxl says of one watch on the store."""

    def __init__(self, path: str) -> None:
        log = _LOG.get()
        slot = 0 if log is None else log.slot()
        self._path = path
        self._what = f"watch w={pointer(self)} wpath={path} token=3/{slot}"

    async def register(self) -> None:
        """It is set, and waited for."""
        await debug(
            "libxl_event.c:812:libxl__ev_xswatch_register", f"{self._what}: register slotnum=3"
        )
        operation = _AO.get()
        if operation is not None:
            await operation.in_progress()

    async def event(self) -> None:
        """It fired."""
        await debug("libxl_event.c:750:watchfd_callback", f"{self._what}: event epath={self._path}")

    async def deregister(self) -> None:
        """It is taken away."""
        await debug(
            "libxl_event.c:849:libxl__ev_xswatch_deregister",
            f"{self._what}: deregister slotnum=3",
        )


async def unregistered(thing: object) -> None:
    """A watch that was never set is taken away all the same."""
    await debug(
        "libxl_event.c:863:libxl__ev_xswatch_deregister",
        f"watch w={pointer(thing)}: deregister unregistered",
    )
