"""How a lab file, and the record of a lab, call the daemons of dom0 that are our own."""

from typing import Final

BUILTIN: Final = "builtin"
"""The daemon of dom0 that comes with us, where the lab file could name one of Xen's own."""
