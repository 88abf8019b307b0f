"""The network interface: requests, responses and their numbers (xen/io/netif.h).

A queue is two rings of one page each: the frontend sends on TX and posts empty pages on RX.  A
packet is one request, or several that hang together by ``more_data``; ``extra_info`` slots come
between the first and the second and hold no data.
"""

from typing import Final

from hvsim.abi.layout import ByteLayout, Layout
from hvsim.abi.ring import ring_size

# ---- flags of requests and responses ----

NETTXF_csum_blank: Final = 1 << 0
NETTXF_data_validated: Final = 1 << 1
NETTXF_more_data: Final = 1 << 2
NETTXF_extra_info: Final = 1 << 3

NETRXF_data_validated: Final = 1 << 0
NETRXF_csum_blank: Final = 1 << 1
NETRXF_more_data: Final = 1 << 2
NETRXF_extra_info: Final = 1 << 3
NETRXF_gso_prefix: Final = 1 << 4

# ---- extra info ----

XEN_NETIF_EXTRA_TYPE_NONE: Final = 0
XEN_NETIF_EXTRA_TYPE_GSO: Final = 1
XEN_NETIF_EXTRA_TYPE_MCAST_ADD: Final = 2
XEN_NETIF_EXTRA_TYPE_MCAST_DEL: Final = 3
XEN_NETIF_EXTRA_TYPE_HASH: Final = 4
XEN_NETIF_EXTRA_TYPE_MAX: Final = 5

XEN_NETIF_EXTRA_FLAG_MORE: Final = 1 << 0

XEN_NETIF_GSO_TYPE_NONE: Final = 0
XEN_NETIF_GSO_TYPE_TCPV4: Final = 1
XEN_NETIF_GSO_TYPE_TCPV6: Final = 2

# ---- status of a response ----

NETIF_RSP_DROPPED: Final = -2
NETIF_RSP_ERROR: Final = -1
NETIF_RSP_OKAY: Final = 0
NETIF_RSP_NULL: Final = 1
"""No response: it fills the place of an extra info slot."""

XEN_NETIF_NR_SLOTS_MIN: Final = 18
"""Slots of one packet that every backend takes."""
XEN_NETIF_MAX_TX_SIZE: Final = 0xFFFF
"""Bytes of one packet."""

# ---- layouts ----

TX_REQUEST: Final = Layout(
    "netif_tx_request_t",
    [("gref", "I"), ("offset", "H"), ("flags", "H"), ("id", "H"), ("size", "H")],
)
TX_RESPONSE: Final = Layout("netif_tx_response_t", [("id", "H"), ("status", "h")])
RX_REQUEST: Final = Layout("netif_rx_request_t", [("id", "H"), ("pad", "H"), ("gref", "I")])
RX_RESPONSE: Final = Layout(
    "netif_rx_response_t", [("id", "H"), ("offset", "H"), ("flags", "H"), ("status", "h")]
)
EXTRA: Final = ByteLayout("netif_extra_info_t", [("type", "B"), ("flags", "B"), ("u", "6s")])
EXTRA_GSO: Final = Layout(
    "netif_extra_info_t, u.gso",
    [
        ("type", "B"),
        ("flags", "B"),
        ("u.gso.size", "H"),
        ("u.gso.type", "B"),
        ("pad", "B"),
        ("u.gso.features", "H"),
    ],
)
EXTRA_MCAST: Final = ByteLayout(
    "netif_extra_info_t, u.mcast", [("type", "B"), ("flags", "B"), ("u.mcast.addr", "6s")]
)
EXTRA_HASH: Final = ByteLayout(
    "netif_extra_info_t, u.hash",
    [
        ("type", "B"),
        ("flags", "B"),
        ("u.hash.type", "B"),
        ("u.hash.algorithm", "B"),
        ("u.hash.value", "4s"),
    ],
)
CTRL_REQUEST: Final = Layout(
    "struct xen_netif_ctrl_request", [("id", "H"), ("type", "H"), ("data", "3I")]
)
CTRL_RESPONSE: Final = Layout(
    "struct xen_netif_ctrl_response",
    [("id", "H"), ("type", "H"), ("status", "I"), ("data", "I")],
)
CTRL_GREF: Final = Layout("struct xen_netif_gref", [("ref", "I"), ("flags", "H"), ("status", "H")])

NET_TX_RING_SIZE: Final = ring_size(4096, TX_REQUEST.size)
NET_RX_RING_SIZE: Final = ring_size(4096, RX_REQUEST.size)
NET_CTRL_RING_SIZE: Final = ring_size(4096, CTRL_REQUEST.size)
