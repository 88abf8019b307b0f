"""The device nodes of a Linux with Xen: ioctl numbers and their arguments.

Sources: xen/sys/evtchn.h, gntdev.h, gntalloc.h and privcmd.h of libxen-dev; the numbers are those
of ``_IOC(_IOC_NONE, type, nr, size)`` in asm-generic/ioctl.h.
"""

from typing import Final

from hvsim.abi.layout import Layout


def _ioc(kind: str, number: int, size: int) -> int:
    return size << 16 | ord(kind) << 8 | number


# ---- evtchn ----

EVTCHN_BIND_VIRQ: Final = Layout("struct ioctl_evtchn_bind_virq", [("virq", "I")])
EVTCHN_BIND_INTERDOMAIN: Final = Layout(
    "struct ioctl_evtchn_bind_interdomain", [("remote_domain", "I"), ("remote_port", "I")]
)
EVTCHN_BIND_UNBOUND: Final = Layout(
    "struct ioctl_evtchn_bind_unbound_port", [("remote_domain", "I")]
)
EVTCHN_UNBIND: Final = Layout("struct ioctl_evtchn_unbind", [("port", "I")])
EVTCHN_NOTIFY: Final = Layout("struct ioctl_evtchn_notify", [("port", "I")])
EVTCHN_RESTRICT: Final = Layout("struct ioctl_evtchn_restrict_domid", [("domid", "H")])

IOCTL_EVTCHN_BIND_VIRQ: Final = _ioc("E", 0, EVTCHN_BIND_VIRQ.size)
IOCTL_EVTCHN_BIND_INTERDOMAIN: Final = _ioc("E", 1, EVTCHN_BIND_INTERDOMAIN.size)
IOCTL_EVTCHN_BIND_UNBOUND_PORT: Final = _ioc("E", 2, EVTCHN_BIND_UNBOUND.size)
IOCTL_EVTCHN_UNBIND: Final = _ioc("E", 3, EVTCHN_UNBIND.size)
IOCTL_EVTCHN_NOTIFY: Final = _ioc("E", 4, EVTCHN_NOTIFY.size)
IOCTL_EVTCHN_RESET: Final = _ioc("E", 5, 0)
IOCTL_EVTCHN_RESTRICT_DOMID: Final = _ioc("E", 6, EVTCHN_RESTRICT.size)

# ---- gntdev ----

GNTDEV_GRANT_REF: Final = Layout("struct ioctl_gntdev_grant_ref", [("domid", "I"), ("ref", "I")])
GNTDEV_MAP: Final = Layout(
    "struct ioctl_gntdev_map_grant_ref",
    [("count", "I"), ("pad", "I"), ("index", "Q"), ("refs", "2I")],
)
"""``refs`` is the first of ``count``."""
GNTDEV_UNMAP: Final = Layout(
    "struct ioctl_gntdev_unmap_grant_ref", [("index", "Q"), ("count", "I"), ("pad", "I")]
)
GNTDEV_GET_OFFSET: Final = Layout(
    "struct ioctl_gntdev_get_offset_for_vaddr",
    [("vaddr", "Q"), ("offset", "Q"), ("count", "I"), ("pad", "I")],
)
GNTDEV_SET_MAX: Final = Layout("struct ioctl_gntdev_set_max_grants", [("count", "I")])
UNMAP_NOTIFY: Final = Layout(
    "struct ioctl_gntdev_unmap_notify",
    [("index", "Q"), ("action", "I"), ("event_channel_port", "I")],
)
"""The same as ``struct ioctl_gntalloc_unmap_notify``."""
GNTDEV_COPY_SEGMENT: Final = Layout(
    "struct ioctl_gntdev_grant_copy_segment",
    [("source", "Q"), ("dest", "Q"), ("len", "H"), ("flags", "H"), ("status", "h")],
)
"""``source`` and ``dest`` are addresses, or FOREIGN as the flags say."""
GNTDEV_FOREIGN: Final = Layout(
    "source.foreign of ioctl_gntdev_grant_copy_segment",
    [("ref", "I"), ("offset", "H"), ("domid", "H")],
)
GNTDEV_COPY: Final = Layout("struct ioctl_gntdev_grant_copy", [("count", "I"), ("segments", "Q")])

IOCTL_GNTDEV_MAP_GRANT_REF: Final = _ioc("G", 0, GNTDEV_MAP.size)
IOCTL_GNTDEV_UNMAP_GRANT_REF: Final = _ioc("G", 1, GNTDEV_UNMAP.size)
IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR: Final = _ioc("G", 2, GNTDEV_GET_OFFSET.size)
IOCTL_GNTDEV_SET_MAX_GRANTS: Final = _ioc("G", 3, GNTDEV_SET_MAX.size)
IOCTL_GNTDEV_SET_UNMAP_NOTIFY: Final = _ioc("G", 7, UNMAP_NOTIFY.size)
IOCTL_GNTDEV_GRANT_COPY: Final = _ioc("G", 8, GNTDEV_COPY.size)

UNMAP_NOTIFY_CLEAR_BYTE: Final = 1
UNMAP_NOTIFY_SEND_EVENT: Final = 2

# ---- gntalloc ----

GNTALLOC_ALLOC: Final = Layout(
    "struct ioctl_gntalloc_alloc_gref",
    [("domid", "H"), ("flags", "H"), ("count", "I"), ("index", "Q"), ("gref_ids", "I")],
)
"""``gref_ids`` is the first of ``count``."""
GNTALLOC_DEALLOC: Final = Layout(
    "struct ioctl_gntalloc_dealloc_gref", [("index", "Q"), ("count", "I")]
)
GNTALLOC_FLAG_WRITABLE: Final = 1

IOCTL_GNTALLOC_ALLOC_GREF: Final = _ioc("G", 5, GNTALLOC_ALLOC.size)
IOCTL_GNTALLOC_DEALLOC_GREF: Final = _ioc("G", 6, GNTALLOC_DEALLOC.size)
IOCTL_GNTALLOC_SET_UNMAP_NOTIFY: Final = _ioc("G", 7, UNMAP_NOTIFY.size)

# ---- privcmd ----

PRIVCMD_HYPERCALL: Final = Layout("privcmd_hypercall_t", [("op", "Q"), ("arg", "5Q")])
PRIVCMD_MMAPBATCH_V2: Final = Layout(
    "privcmd_mmapbatch_v2_t",
    [("num", "I"), ("dom", "H"), ("addr", "Q"), ("arr", "Q"), ("err", "Q")],
)

PRIVCMD_MMAPBATCH: Final = Layout(
    "struct privcmd_mmapbatch", [("num", "i"), ("dom", "H"), ("addr", "Q"), ("arr", "Q")]
)
PRIVCMD_MMAP: Final = Layout("struct privcmd_mmap", [("num", "i"), ("dom", "H"), ("entry", "Q")])
PRIVCMD_MMAP_ENTRY: Final = Layout(
    "struct privcmd_mmap_entry", [("va", "Q"), ("mfn", "Q"), ("npages", "Q")]
)

IOCTL_PRIVCMD_HYPERCALL: Final = _ioc("P", 0, PRIVCMD_HYPERCALL.size)
IOCTL_PRIVCMD_MMAP: Final = _ioc("P", 2, PRIVCMD_MMAP.size)
IOCTL_PRIVCMD_MMAPBATCH: Final = _ioc("P", 3, PRIVCMD_MMAPBATCH.size)
IOCTL_PRIVCMD_MMAPBATCH_V2: Final = _ioc("P", 4, PRIVCMD_MMAPBATCH_V2.size)
IOCTL_PRIVCMD_DM_OP: Final = _ioc("P", 5, 16)
IOCTL_PRIVCMD_RESTRICT: Final = _ioc("P", 6, 2)
IOCTL_PRIVCMD_MMAP_RESOURCE: Final = _ioc("P", 7, 32)
IOCTL_PRIVCMD_UNIMPLEMENTED: Final = _ioc("P", 0xFF, 0)
