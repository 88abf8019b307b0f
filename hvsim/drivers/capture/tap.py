"""The driver's side of a capture: a ring for domain 0, while somebody asks for one.

    tap = Tap(dom, device)              # in probe
    if tap.on:                          # for each frame: one attribute
        tap.frame(frame, vnet, sent=True)
    tap.close()                         # in removed

The toolstack writes ``capture`` = "<session> <snaplen> <pages>" into the device's own directory;
the tap answers with ``capture-ring`` = "<session> <grant reference>", or "<session> error <why>".
When ``capture`` goes, the ring goes. A frontend's directory belongs to its guest, which may write
the same: it then copies frames for nobody, in its own memory, at most MAX_PAGES of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hvsim.domain.grants import GrantTableFull
from hvsim.domain.hypercall import HypercallError
from hvsim.drivers.capture.ring import MAX_PAGES, NO_VNET, CaptureWriter
from hvsim.drivers.split.deferred import DeferredGrants
from hvsim.names.number import unsigned
from hvsim.xs.client import StoreError

if TYPE_CHECKING:
    from hvsim.domain import Domain
    from hvsim.domain.memory import Extent
    from hvsim.domain.xenbus.device import BackendDevice, FrontendDevice

REQUEST_KEY: Final = "capture"
ANSWER_KEY: Final = "capture-ring"
DOM0: Final = 0


class Tap:
    """Where the frames of one device are copied from, if they are.

    Attributes:
        on: whether somebody captures.
        writer: our end of his ring.
    """

    def __init__(self, dom: Domain, device: FrontendDevice | BackendDevice) -> None:
        self.on = False
        self._dom = dom
        self._device = device
        self._deferred = DeferredGrants(dom)
        self._request: str | None = None
        self.writer: CaptureWriter | None = None
        self._extent: Extent | None = None
        self._refs: list[int] = []
        device.listen(REQUEST_KEY, self._changed)

    @property
    def leftover_pages(self) -> int:
        """Pages of rings that have ended, which domain 0 still maps."""
        return self._deferred.nr_pages

    def frame(
        self,
        frame: bytes | bytearray | memoryview,
        vnet: bytes | memoryview = NO_VNET,
        *,
        sent: bool,
        queue: int = 0,
    ) -> None:
        """A frame went by: `sent` to the other half, or received from it.  Never waits, never
        raises for a peer's fault."""
        writer = self.writer
        if writer is None:
            return
        now = int(self._dom.vcpu.now() * 1e9)
        writer.record(frame, sent=sent, time_ns=now, vnet=vnet, queue=queue)
        if writer.broken:
            self._dom.log(f"{self._device.nodename}: the capture's reader broke its ring")
            self.close()

    def close(self) -> None:
        """End a capture.  Idempotent."""
        self.on = False
        writer, self.writer = self.writer, None
        extent, self._extent = self._extent, None
        refs, self._refs = self._refs, []
        if writer is not None:
            writer.release()
        if extent is not None:
            self._deferred.end(extent, refs)

    # -- inside ----------------------------------------------------------------------------

    def _changed(self) -> None:
        """``capture`` was written or removed."""
        request = self._device.read(REQUEST_KEY)
        if request == self._request:
            return
        self._request = request
        self.close()
        if request is None:
            return
        session, answer = request.split(" ")[0][:32], "error the request makes no sense"
        snaplen, pages = ([unsigned(word) for word in request.split(" ")[1:]] + [None, None])[:2]
        if snaplen is not None and pages is not None:
            answer = self._open(snaplen=snaplen, nr_pages=pages)
        try:
            self._device.write(ANSWER_KEY, f"{session} {answer}")
        except StoreError as error:
            self._dom.log(f"{self._device.nodename}: cannot answer a capture: {error}")
            self.close()

    def _open(self, *, snaplen: int, nr_pages: int) -> str:
        """Make the ring; its reference, or why there is none."""
        if nr_pages & (nr_pages - 1) or not 0 < nr_pages <= MAX_PAGES or not snaplen:
            return f"error a ring of {nr_pages} pages for {snaplen} bytes of a frame"
        try:
            self._extent = extent = self._dom.memory.allocate(1 + nr_pages)
            gfns = [extent.gfn(page) for page in range(1 + nr_pages)]
            self._refs = self._dom.grants.grant_many(DOM0, gfns)
        except (HypercallError, GrantTableFull) as error:
            self.close()
            return f"error no room for a ring of {nr_pages} pages: {error}"
        self.writer = CaptureWriter(extent.view, self._refs[1:], snaplen)
        self.on = True
        return str(self._refs[0])
