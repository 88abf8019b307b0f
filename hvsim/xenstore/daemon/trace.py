"""The trace: one JSON line for each request with its reply, and for each watch event.

::

    {"time": 1.25, "connection": "s3", "label": "XL", "domid": 0, "op": "WRITE", "tx": 0,
     "path": "/a", "value": "1", "reply": "OK"}
    {"time": 1.25, "connection": "d1", "label": "d1", "domid": 1, "op": "WATCH_EVENT",
     "path": "device/vbd", "token": "1"}

A refused request has ``error`` instead of ``reply``.  Connections have stable names: ``d<domid>``
for a ring, ``s<n>`` for the n-th socket.  Times are seconds since the trace began.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, TextIO

from hvsim.abi import xs_wire
from hvsim.xenstore.rules.session import Session

_STRUCTURED: Final = frozenset((xs_wire.XS_WRITE,))


class Trace:
    """Writes the trace to a text file; buffered until :meth:`flush`.

    Args:
        file: where to; owned from here on.
        clock: monotonic seconds.
    """

    def __init__(self, file: TextIO, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._start = clock()
        self._dirty = False
        self._on = True

    def switch(self, on: bool) -> None:
        """Go on, or write nothing until further notice (``xenstore-control log on|off``)."""
        self._on = on

    def reopen(self, path: str) -> None:
        """Go on at the end of the file at *path* (``xenstore-control logfile``).

        Raises: OSError, ValueError; the trace goes on where it was then.
        """
        file = open(path, "a", encoding="utf-8")  # noqa: SIM115  # owned from here on
        self._file.close()
        self._file = file

    def request(
        self, session: Session, type: int, tx: int, payload: bytes, reply: int, answer: bytes
    ) -> None:
        """A request was answered."""
        record = self._record(session, xs_wire.TYPE_NAMES.get(type, str(type)))
        record["tx"] = tx
        if type in _STRUCTURED:
            path, _, value = payload.partition(b"\0")
            record["path"] = _text(path)
            record["value"] = _text(value)
        else:
            parts = [_text(part) for part in payload.split(b"\0")]
            if parts[-1] == "":
                parts.pop()
            record["path"] = parts[0] if parts else ""
            if len(parts) > 1:
                record["value"] = " ".join(parts[1:])
        if reply == xs_wire.XS_ERROR:
            record["error"] = _text(answer.rstrip(b"\0"))
        else:
            text = answer[:-1] if answer[-1:] == b"\0" else answer
            record["reply"] = _text(text.replace(b"\0", b" "))
        self._write(record)

    def event(self, session: Session, payload: bytes) -> None:
        """A watch event was sent."""
        path, token = payload[:-1].split(b"\0", 1)
        record = self._record(session, "WATCH_EVENT")
        record["path"] = _text(path)
        record["token"] = _text(token)
        self._write(record)

    def note(self, session: Session, text: str) -> None:
        """Something about the connection itself."""
        record = self._record(session, "NOTE")
        record["text"] = text
        self._write(record)

    def flush(self) -> None:
        """Write out what is buffered."""
        if self._dirty:
            self._dirty = False
            self._file.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self._file.close()

    def _record(self, session: Session, op: str) -> dict[str, object]:
        return {
            "time": round(self._clock() - self._start, 6),
            "connection": session.name,
            "label": session.label or session.name,
            "domid": session.domid,
            "op": op,
        }

    def _write(self, record: dict[str, object]) -> None:
        if not self._on:
            return
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._dirty = True


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
