"""Domains with a vif that has nothing but a tap and figures: they copy frames when told to.

``data/frames`` = "<count> <size>" makes as many frames of that size; frame n begins with n.
``data/frames`` = "break" writes an index into the ring that no honest writer can have.
"""

from hvsim.abi.xenbus import XenbusState
from hvsim.domain import Domain
from hvsim.domain.xenbus.device import BackendDevice, FrontendDevice
from hvsim.drivers.capture.ring import PROD
from hvsim.drivers.capture.tap import Tap
from hvsim.drivers.split.statistics import Counters

TAPS: list[Tap] = []


class Half:
    """Either half."""

    def __init__(self, dom: Domain) -> None:
        self.dom = dom
        self.device: BackendDevice | FrontendDevice
        self.tap: Tap | None = None

    def probe(self, device: FrontendDevice | BackendDevice) -> None:
        """The bus found it."""
        self.device = device
        if "deaf" not in self.dom.args:
            self.tap = Tap(self.dom, device)
            TAPS.append(self.tap)
            Counters(self.dom, device, lambda: {"rx_packets": 7, "domid": self.dom.domid})
        if isinstance(device, BackendDevice):
            device.switch_state(XenbusState.InitWait)

    def otherend_changed(self, state: XenbusState) -> None:
        """A frontend connects as soon as its backend waits; a backend closes when its frontend has
        gone."""
        device = self.device
        if isinstance(device, FrontendDevice) and state == XenbusState.InitWait:
            device.switch_state(XenbusState.Connected)
        if isinstance(device, BackendDevice) and state == XenbusState.Unknown:
            device.unregister()

    def backend_moved(self) -> None:
        """Nothing is shared with a backend."""

    def close(self) -> None:
        """The domain shuts down."""
        for state in (XenbusState.Closing, XenbusState.Closed):
            self.device.switch_state(state)

    def removed(self) -> None:
        """The device is gone."""
        if self.tap is not None:
            TAPS.remove(self.tap)
            self.tap.close()


def _serve(dom: Domain) -> None:
    def told(_path: str) -> None:
        text = dom.store.read_many(["data/frames"])[0]
        if text == "break":
            for tap in TAPS:
                assert tap.writer is not None
                tap.writer.words[PROD] = 0x7777_7777
        elif text:
            count, size = (int(word) for word in text.split())
            for number in range(count):
                for tap in TAPS:
                    tap.frame(number.to_bytes(4, "big").ljust(size, b"."), sent=number % 2 == 0)

    dom.store.watch("data/frames", told)
    dom.ready()
    dom.serve()


def front(dom: Domain) -> None:
    """A guest."""
    dom.frontends.register("vif", lambda: Half(dom))
    _serve(dom)


def back(dom: Domain) -> None:
    """A driver domain."""
    dom.backends.register("vif", lambda: Half(dom))
    _serve(dom)
