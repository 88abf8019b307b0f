"""The xenstore wire and its ring page (xen/io/xs_wire.h).

A message is a header of 16 bytes and a payload of at most :data:`XENSTORE_PAYLOAD_MAX`. The same
messages go over the tools' Unix socket and over the ring page of a domain.
"""

from types import MappingProxyType
from typing import Final, NamedTuple

from hvsim.abi import errno
from hvsim.abi.layout import ByteLayout, Layout

XS_CONTROL: Final = 0
XS_DEBUG: Final = XS_CONTROL
XS_DIRECTORY: Final = 1
XS_READ: Final = 2
XS_GET_PERMS: Final = 3
XS_WATCH: Final = 4
XS_UNWATCH: Final = 5
XS_TRANSACTION_START: Final = 6
XS_TRANSACTION_END: Final = 7
XS_INTRODUCE: Final = 8
XS_RELEASE: Final = 9
XS_GET_DOMAIN_PATH: Final = 10
XS_WRITE: Final = 11
XS_MKDIR: Final = 12
XS_RM: Final = 13
XS_SET_PERMS: Final = 14
XS_WATCH_EVENT: Final = 15
XS_ERROR: Final = 16
XS_IS_DOMAIN_INTRODUCED: Final = 17
XS_RESUME: Final = 18
XS_SET_TARGET: Final = 19
# 20 was XS_RESTRICT, which has been removed.
XS_RESET_WATCHES: Final = 21
XS_DIRECTORY_PART: Final = 22
XS_TYPE_COUNT: Final = 23
XS_INVALID: Final = 0xFFFF

TYPE_NAMES: Final = MappingProxyType(
    {
        value: name.removeprefix("XS_")
        for name, value in tuple(globals().items())
        if name.startswith("XS_")
        and name not in ("XS_DEBUG", "XS_TYPE_COUNT", "XS_INVALID")
        and isinstance(value, int)
    }
)
"""Message type -> name as xenstored's own trace prints it (``2 -> "READ"``)."""

XS_WATCH_PATH: Final = 0
XS_WATCH_TOKEN: Final = 1

XS_WRITE_NONE: Final = "NONE"
XS_WRITE_CREATE: Final = "CREATE"
XS_WRITE_CREATE_EXCL: Final = "CREATE|EXCL"

XENSTORE_PAYLOAD_MAX: Final = 4096
"""Largest payload in bytes; a header that claims more ends the connection."""
XENSTORE_ABS_PATH_MAX: Final = 3072
XENSTORE_REL_PATH_MAX: Final = 2048

# ---- errors travel as their names; the order is the header's ----

XSD_ERRORS: Final = (
    (errno.EINVAL, "EINVAL"),
    (errno.EACCES, "EACCES"),
    (errno.EEXIST, "EEXIST"),
    (errno.EISDIR, "EISDIR"),
    (errno.ENOENT, "ENOENT"),
    (errno.ENOMEM, "ENOMEM"),
    (errno.ENOSPC, "ENOSPC"),
    (errno.EIO, "EIO"),
    (errno.ENOTEMPTY, "ENOTEMPTY"),
    (errno.ENOSYS, "ENOSYS"),
    (errno.EROFS, "EROFS"),
    (errno.EBUSY, "EBUSY"),
    (errno.EAGAIN, "EAGAIN"),
    (errno.EISCONN, "EISCONN"),
    (errno.E2BIG, "E2BIG"),
    (errno.EPERM, "EPERM"),
)
ERROR_NAMES: Final = MappingProxyType(dict(XSD_ERRORS))
"""Number -> text of an XS_ERROR reply."""
ERROR_NUMBERS: Final = MappingProxyType({text: number for number, text in XSD_ERRORS})
"""Text of an XS_ERROR reply -> number."""

# ---- the header ----

XSD_SOCKMSG: Final = Layout(
    "struct xsd_sockmsg", [("type", "I"), ("req_id", "I"), ("tx_id", "I"), ("len", "I")]
)


class Header(NamedTuple):
    """``xsd_sockmsg``; ``len`` counts the bytes behind it."""

    type: int
    req_id: int
    tx_id: int
    len: int


def pack_header(type: int, req_id: int, tx_id: int, length: int) -> bytes:
    """The 16 bytes in front of a payload of ``length`` bytes."""
    return XSD_SOCKMSG.pack(type, req_id, tx_id, length)


def unpack_header(data: bytes | bytearray | memoryview, offset: int = 0) -> Header:
    """The header at ``offset``. Nothing is checked: type and length are the peer's claims."""
    return Header._make(XSD_SOCKMSG.struct.unpack_from(data, offset))


# ---- the ring page ----

XENSTORE_RING_SIZE: Final = 1024

XENSTORE_DOMAIN_INTERFACE: Final = ByteLayout(
    "struct xenstore_domain_interface",
    [
        ("req", f"{XENSTORE_RING_SIZE}s"),
        ("rsp", f"{XENSTORE_RING_SIZE}s"),
        ("req_cons", "I"),
        ("req_prod", "I"),
        ("rsp_cons", "I"),
        ("rsp_prod", "I"),
        ("server_features", "I"),
        ("connection", "I"),
        ("error", "I"),
    ],
)

REQ: Final = XENSTORE_DOMAIN_INTERFACE.offsets["req"]
RSP: Final = XENSTORE_DOMAIN_INTERFACE.offsets["rsp"]
REQ_CONS: Final = XENSTORE_DOMAIN_INTERFACE.offsets["req_cons"]
REQ_PROD: Final = XENSTORE_DOMAIN_INTERFACE.offsets["req_prod"]
RSP_CONS: Final = XENSTORE_DOMAIN_INTERFACE.offsets["rsp_cons"]
RSP_PROD: Final = XENSTORE_DOMAIN_INTERFACE.offsets["rsp_prod"]
SERVER_FEATURES: Final = XENSTORE_DOMAIN_INTERFACE.offsets["server_features"]
CONNECTION: Final = XENSTORE_DOMAIN_INTERFACE.offsets["connection"]
ERROR: Final = XENSTORE_DOMAIN_INTERFACE.offsets["error"]

XENSTORE_SERVER_FEATURE_RECONNECTION: Final = 1
XENSTORE_SERVER_FEATURE_ERROR: Final = 2

XENSTORE_CONNECTED: Final = 0
XENSTORE_RECONNECT: Final = 1

XENSTORE_ERROR_NONE: Final = 0
XENSTORE_ERROR_COMM: Final = 1
XENSTORE_ERROR_RINGIDX: Final = 2
XENSTORE_ERROR_PROTO: Final = 3
