"""The split network driver: netfront in a guest, netback in dom0 or a driver domain.

`NetFront` and `NetBack` pump whole Ethernet frames between a *port* (a descriptor with
``virtio_net_hdr`` framing, behind which is a Linux network stack) and the rings of the public netif
ABI (xen/io/netif.h); between the two halves is nothing else.

    front.py     handshake and life                      back.py        handshake and life
    interface.py frames while it is connected            queue.py       frames while it is connected
    connection.py  rings, ports and pages of a guest     attachment.py  what is mapped of them
    transmit.py  frames on their way out                 receive.py     frames on their way in
    protocol.py  what both know: packets and slots       offload.py     checksums and segmentation
    port.py      the descriptor                          links.py       links, addresses, bridges
"""
