"""The split network driver: netfront in a guest, netback in dom0 or a driver domain.

`NetFront` and `NetBack` pump whole Ethernet frames between a *link* (a descriptor with
``virtio_net_hdr`` framing, behind which is a Linux network stack) and the rings of the public netif
ABI (xen/io/netif.h); between the two halves is nothing else.

    front.py      handshake and life                     back.py       handshake and life
    interface.py  frames while it is connected           service.py    frames of one queue
                                                         guest_rx.py   frames for the guest
    transmit.py, receive.py    frames out of a guest and into it: each with both halves of its ring
    ring.py, features.py, statistics.py, protocol.py     of both halves
    link.py, listener.py       the descriptor             links.py     links, addresses, bridges
    switch.py, frames.py       links and a bridge without Linux, for a lab in lockstep
    offload.py                 checksums and segmentation that are left to somebody later
"""
