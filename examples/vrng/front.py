"""vrng, the guest's half: asks for random numbers, and says in the store how many it has got."""

from hvsim.abi.xenbus import XenbusState as State
from hvsim.domain.ring import FrontRing


class Front:
    """One device.  The bus makes it, and calls the methods below."""

    def __init__(self, dom):
        self.dom, self.received = dom, 0
        self.page = self.ring = None

    def probe(self, device):
        self.device = device
        self.interval = int(device.read("interval-ms", "100")) / 1000

    def otherend_changed(self, state):
        if state == State.InitWait and self.page is None:  # it is there: publish a ring
            peer = self.device.otherend_id
            self.page = self.dom.memory.allocate(1)
            self.ring = FrontRing(self.page.view, 4, 16)
            self.ref = self.dom.grants.grant(peer, self.page.gfn(0))
            self.port = self.dom.events.alloc_unbound(peer, self.answered)
            self.device.write_many({"ring-ref": self.ref, "event-channel": self.port}, "ring")
            self.device.switch_state(State.Initialised)
        elif state == State.Connected and self.device.state == State.Initialised:
            self.device.switch_state(State.Connected)
            self.ask()
        elif state in (State.Closing, State.Closed):
            self.removed()
            self.device.switch_state(State.Closed)

    def ask(self):
        if self.ring is not None and self.ring.free:
            self.ring.produce(b"more")
            if self.ring.push():
                self.dom.events.notify(self.port)

    def answered(self):
        while self.ring is not None and self.ring.consume() is not None:
            self.received += 1
            self.device.write("received", self.received)
            self.device.call_later(self.interval, self.ask)
        if self.ring is not None and self.ring.final_check():
            self.answered()

    def backend_moved(self):  # its domain died: give up what was shared, and begin anew
        self.removed()

    def close(self):
        self.device.switch_state(State.Closing)

    def removed(self):
        if self.page is not None:
            self.dom.events.close(self.port)
            self.ring.release()
            if self.dom.grants.end_access_many([self.ref]) == []:
                self.dom.memory.free(self.page)
            self.page = self.ring = None
