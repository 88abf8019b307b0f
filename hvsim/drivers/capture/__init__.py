"""The capture ring: how the frames of a network device are seen from outside.

Neither half of a device has a wire to whoever captures. The toolstack asks by a node in the
device's own directory; the half that is asked grants a ring to domain 0, writes copies of its
frames into it, and never waits: what finds no room is counted and gone.

`ring.py` has the two halves of the ring, pure; `tap.py` is the driver's side.
"""
