"""The hypervisor's file system: commands and entries (xen/hypfs.h)."""

from typing import Final

from hvsim.abi.layout import Layout

XEN_HYPFS_OP_get_version: Final = 0
XEN_HYPFS_OP_read: Final = 1
XEN_HYPFS_OP_write_contents: Final = 2

XEN_HYPFS_TYPE_DIR: Final = 0
XEN_HYPFS_TYPE_BLOB: Final = 1
XEN_HYPFS_TYPE_STRING: Final = 2
XEN_HYPFS_TYPE_UINT: Final = 3
XEN_HYPFS_TYPE_INT: Final = 4
XEN_HYPFS_TYPE_BOOL: Final = 5

XEN_HYPFS_ENC_PLAIN: Final = 0
XEN_HYPFS_ENC_GZIP: Final = 1

DIRENTRY: Final = Layout(
    "struct xen_hypfs_direntry",
    [
        ("type", "B"),
        ("encoding", "B"),
        ("pad", "H"),
        ("content_len", "I"),
        ("max_write_len", "I"),
    ],
)
DIRLISTENTRY: Final = Layout(
    "head of struct xen_hypfs_dirlistentry", [("e", "3I"), ("off_next", "H"), ("name", "2B")]
)
"""Its head only; the name begins at ``offsets["name"]`` and is as long as it is."""
