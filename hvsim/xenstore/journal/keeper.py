"""Keeps a store: recovers it at the start, journals it from then on.

A journal that cannot be written (the disk is full) does not stop the store: it is said once, and
tried again with a fresh snapshot at every further frame, until one succeeds.
"""

from __future__ import annotations

from collections.abc import Callable

from hvsim import shortage
from hvsim.xenstore.journal import file as journal
from hvsim.xenstore.journal.file import Journal
from hvsim.xenstore.journal.recorder import Recorder
from hvsim.xenstore.journal.recovery import JournalError, Recovery
from hvsim.xenstore.rules.store import Store


class Keeper:
    """The journal of *store*.

    Args:
        path: the journal; "" for a store that is not kept.
        recover: a former store was kept there: *store* becomes what it was.
        log: hears of what went wrong.

    Attributes:
        recorder: None for a store that is not kept.
        recovery: what is still to be done for the rings of a recovered store; None for a new one.
    """

    def __init__(self, store: Store, path: str, recover: bool, log: Callable[[str], None]) -> None:
        self._path = path
        self._log = log
        self._journal: Journal | None = None
        self._behind = False
        self.recovery: Recovery | None = None
        if path and recover:
            self._recover(store)
        self.recorder = Recorder(store, self._take) if path else None

    def _recover(self, store: Store) -> None:
        try:
            payloads = journal.read(self._path)
            if not payloads:
                self._log(f"xenstored: there is no journal at {self._path}: the store is empty")
                return
            recovery = Recovery(store)
            recovery.replay(payloads)
        except (OSError, JournalError) as error:
            self._log(f"xenstored: the store is lost: {error}")
            return
        self.recovery = recovery

    def begin(self) -> None:
        """Journal from here on, beginning with a snapshot.  Raises OSError."""
        if self.recorder is not None:
            self.recovery = None
            self._journal = Journal(self._path, self.recorder.snapshot())

    def commit(self) -> None:
        """Record what has happened; also called by the store before every output."""
        if self.recorder is not None:
            self.recorder.commit()

    def settle(self) -> None:
        """Leave a fresh snapshot for who comes next; nothing is recorded any more.  Raises
        OSError."""
        if self._journal is not None and self.recorder is not None:
            self.commit()
            self._journal.rewrite(self.recorder.snapshot())
            self._journal.close()
            self._journal = None

    def abandon(self) -> None:
        """Close the file as it is: after a failure in the middle of something, what was not
        recorded yet must not be."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def close(self) -> None:
        """Record the last things and close the file, which stays."""
        if self._journal is not None:
            self.commit()
            self._journal.close()
            self._journal = None

    def _take(self, payload: bytes) -> None:
        keeping = self._journal
        if keeping is None or self.recorder is None:
            return  # before the first snapshot, which has it all
        try:
            if self._behind or keeping.due:
                keeping.rewrite(self.recorder.snapshot())
                self._behind = False
            else:
                keeping.append(payload)
        except OSError as error:
            if not self._behind:
                self._log(
                    "xenstored: what is written now would not survive it: "
                    f"{shortage.words(error, self._path)}"
                )
            self._behind = True
