"""A capture from the toolstack's wire into a pcapng file."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from hvsim import __version__
from hvsim.drivers.capture.ring import Record, records
from hvsim.lab.control import Control
from hvsim.names import mac as mac_names
from hvsim.observe import pcapng
from hvsim.observe.offload import Offload
from hvsim.printable import printable
from hvsim.wire.lab_requests import Capture as Request
from hvsim.wire.lab_requests import Side


@dataclass(slots=True)
class Limits:
    """When a capture ends by itself; None: not for that reason.

    Attributes:
        count: frames.
        seconds: time.
    """

    count: int | None = None
    seconds: float | None = None


@dataclass(slots=True)
class Tapped:
    """One domain that was tapped, an interface of the file.

    Attributes:
        seen, dropped: frames that passed by; those of them that are not in the file.
    """

    number: int
    started_ns: int
    seen: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Capture:
    """A capture under way.

    Attributes:
        about: what the toolstack says of the interface: vif, side, guest, tapped, ...
        frames: how many are in the file.
        ended: why it ended, when the vif ended it.
    """

    control: Control
    out: BinaryIO
    side: Side
    snaplen: int
    fill: bool = True
    about: dict[str, Any] = field(default_factory=dict)
    frames: int = 0
    ended: str = ""
    _taps: list[Tapped] = field(default_factory=list)
    _session: int = -1
    _domid: int = -1
    _clock: int = 0
    """What to add to monotonic time to get the time of day, ns."""

    @property
    def seen(self) -> int:
        """Frames that passed by."""
        return sum(tap.seen for tap in self._taps)

    @property
    def dropped(self) -> int:
        """Frames that found no room on their way."""
        return sum(tap.dropped for tap in self._taps)

    def start(self, vif: str) -> None:
        """Ask for it, and write the file's head.  Raises: ControlError, OSError."""
        self.about = self.control.data(
            Request("start", vif=vif, side=self.side, snaplen=self.snaplen)
        )
        self._session = int(self.about["session"])
        self._clock = time.time_ns() - time.monotonic_ns()
        system = f"{platform.system()} {platform.release()}"
        self.out.write(pcapng.section(f"hvsim {__version__}", system))
        self._begin(int(self.about["domid"]), str(self.about["tapped"]))

    def run(self, limits: Limits, stop: Callable[[], bool] = lambda: False) -> None:
        """Write what comes until a limit is reached, the vif is gone, or `stop` says so.

        Raises: ControlError when the toolstack fails; CaptureBroken for a domain that fills its
        ring with nonsense; OSError.
        """
        deadline = None if limits.seconds is None else time.monotonic() + limits.seconds
        while not stop():
            found = self.control.data(Request("read", session=self._session))
            domid = int(found["domid"])
            if domid != self._domid:  # also in the first answer
                self._begin(domid, f"domain {domid}")
            self._count(found)
            for record in records(found["records"]):
                self._write(record)
                if limits.count is not None and self.frames >= limits.count:
                    return
            self.out.flush()
            self.ended = str(found["ended"])
            if self.ended or (deadline is not None and time.monotonic() >= deadline):
                return

    def stop(self, control: Control) -> None:
        """End the session by a conversation of its own: the other may have been cut off in the
        middle of a request.  Raises: ControlError."""
        if self._session >= 0:
            number, self._session = self._session, -1
            self._count(control.data(Request("stop", session=number)))

    def close(self) -> None:
        """Write the statistics of every interface, last of all.  Raises: OSError."""
        now = time.time_ns()
        for tap in self._taps:
            self.out.write(
                pcapng.statistics(
                    tap.number,
                    started_ns=tap.started_ns,
                    ended_ns=now,
                    seen=tap.seen,
                    dropped=tap.dropped,
                )
            )
        self.out.flush()

    def describe(self) -> str:
        """Where the frames are seen, in words."""
        return self._words(str(self.about["tapped"]), int(self.about["domid"]))

    # -- inside ----------------------------------------------------------------------------

    def _words(self, tapped: str, domid: int) -> str:
        about = self.about
        whose = f"interface {about['devid']} of {about['guest']} (domain {about['guest_domid']})"
        where = tapped if tapped == f"domain {domid}" else f"{tapped} (domain {domid})"
        # It is written into the file as well, and tshark shows that as it is.
        return printable(f"{whose}, {about['side']} half in {where}")

    def _begin(self, domid: int, tapped: str) -> None:
        """Another domain is tapped from now on."""
        self._domid = domid
        self.out.write(
            pcapng.interface(
                printable(str(self.about["vif"])),
                self._words(tapped, domid),
                snaplen=self.snaplen,
                mac=_mac(self.about.get("mac")),
            )
        )
        self._taps.append(Tapped(len(self._taps), time.time_ns()))

    def _count(self, found: dict[str, Any]) -> None:
        """The session's counts are of all its domains: the last one gets what is new."""
        if self._taps:
            last = self._taps[-1]
            last.seen += int(found["seen"]) - self.seen
            last.dropped += int(found["dropped"]) - self.dropped

    def _write(self, record: Record) -> None:
        offload = Offload.of(record.vnet)
        # The backend's interface is the guest's cable: what the guest sends comes in there.
        flags = pcapng.FLAG_OUTBOUND if record.sent else pcapng.FLAG_INBOUND
        data = offload.filled(record.data, record.length) if self.fill else record.data
        self.out.write(
            pcapng.packet(
                self._taps[-1].number,
                record.time_ns + self._clock,
                data,
                record.length,
                flags=flags | offload.packet_flags,
                comment=offload.comment(record.data, record.length),
                dropped=record.missed,
                queue=record.queue,
            )
        )
        self.frames += 1


def _mac(text: str | None) -> bytes | None:
    """The bytes of an interface's address, None when the store has none that is one."""
    try:
        return mac_names.bytes_of(text or "")
    except ValueError:
        return None
