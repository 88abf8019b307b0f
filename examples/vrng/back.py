"""vrng, the driver domain's half: answers each request with sixteen random bytes."""

import os

from hvsim.abi.xenbus import XenbusState as State
from hvsim.domain.ring import BackRing


class Back:
    """One device.  The bus makes it, and calls the methods below."""

    def __init__(self, dom):
        self.dom, self.ring = dom, None

    def probe(self, device):
        self.device = device
        device.switch_state(State.InitWait)

    def otherend_changed(self, state):
        if state == State.Initialised and self.ring is None:
            peer = self.device.otherend_id
            ref, port = map(int, self.device.read_otherend_many(["ring-ref", "event-channel"]))
            self.mapping = self.dom.mapper.map(peer, ref)
            self.ring = BackRing(self.mapping.view, 4, 16)
            self.port = self.dom.events.bind_interdomain(peer, port, self.asked)
            self.device.switch_state(State.Connected)
            self.asked()
        elif state in (State.Closing, State.Closed, State.Unknown) and self.ring is not None:
            self.removed()
            self.device.switch_state(State.Closed)
        if state in (State.Closed, State.Unknown) and not self.device.online():
            self.device.unregister()

    def asked(self):
        while self.ring is not None and self.ring.consume() is not None:
            self.ring.produce(os.urandom(16))
            if self.ring.push():
                self.dom.events.notify(self.port)
        if self.ring is not None and self.ring.final_check():
            self.asked()

    def removed(self):
        if self.ring is not None:
            self.dom.events.close(self.port)
            self.ring.release()
            self.mapping.unmap()
            self.ring = None
