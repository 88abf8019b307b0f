"""The console ring page (xen/io/console.h).

``in`` carries bytes to the guest, ``out`` from it. Indices are free-running 32-bit counters and
are masked with the size of their ring.
"""

from typing import Final

from hvsim.abi.layout import ByteLayout

IN_SIZE: Final = 1024
OUT_SIZE: Final = 2048

XENCONS_INTERFACE: Final = ByteLayout(
    "struct xencons_interface",
    [
        ("in", f"{IN_SIZE}s"),
        ("out", f"{OUT_SIZE}s"),
        ("in_cons", "I"),
        ("in_prod", "I"),
        ("out_cons", "I"),
        ("out_prod", "I"),
    ],
)

IN: Final = XENCONS_INTERFACE.offsets["in"]
OUT: Final = XENCONS_INTERFACE.offsets["out"]
IN_CONS: Final = XENCONS_INTERFACE.offsets["in_cons"]
IN_PROD: Final = XENCONS_INTERFACE.offsets["in_prod"]
OUT_CONS: Final = XENCONS_INTERFACE.offsets["out_cons"]
OUT_PROD: Final = XENCONS_INTERFACE.offsets["out_prod"]
