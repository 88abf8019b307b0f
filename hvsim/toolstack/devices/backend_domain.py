"""Which domain serves a device: by the name, or the number, that a config gives."""

from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.store import Store


async def find(toolstack: Toolstack, store: Store, name: str | None) -> int:
    """Its number; dom0 for None.

    Raises: ToolstackError: it names no domain.  libxl has no words of its own for that; what is
        known of one that was here is said.
    """
    if name is None:
        return 0
    found = await toolstack.find(store, name)
    if found is not None and toolstack.hypervisor.info(found) is not None:
        return found
    gone = toolstack.departed.get(name)
    raise ToolstackError(*([] if gone is None else [libxl(gone.text, "info")]))
