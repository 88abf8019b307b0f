"""vrng, the guest's half: asks for random numbers, and says in the store how many it has got."""

from hvsim.drivers.split.one_ring import RingFront


def front(dom):
    received = 0

    def connected():
        if not half.unanswered:
            half.ask(b"more")

    def answered(_random):
        nonlocal received
        received += 1
        half.device.write("received", received)
        interval = int(half.device.read("interval-ms", "100")) / 1000
        half.device.call_later(interval, lambda: half.ask(b"more"))

    half = RingFront(dom, 4, 16, connected=connected, answered=answered)
    return half
