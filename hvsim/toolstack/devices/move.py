"""Giving devices to another backend while their frontends live on.

Real libxl has nothing of the kind: a new driver domain has a new number there, and the frontends
go on looking at the old one for ever (surprises 41 and 42 of a real host).  Here it is one
transaction for each device: the backend's half in the tree of the new domain, then ``backend-id``,
``state`` = 1 and last ``backend`` of the frontend, which keeps its unanswered requests, connects to
the new backend, and issues them again.
"""

from dataclasses import replace

from hvsim.abi import errno
from hvsim.toolstack.devices import nodes
from hvsim.toolstack.host.device import Attached
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.store import Store
from hvsim.xs.errors import StoreError, StoreNotFound


async def move(store: Store, owner: Guest, attached: Attached, backend_domid: int) -> None:
    """Give a device of *owner* to the backend in *backend_domid*.  Raises: StoreError."""
    old = attached.device
    new = replace(old, backend_domid=backend_domid)

    async def change(tx: int) -> None:
        keys = await _keys(store, tx, old.frontend)
        if not keys:
            return  # the guest's half has gone meanwhile
        batch = nodes.move(old, new, attached.half, keys)
        try:
            await store.apply([request._replace(tx=tx) for request in batch])
        except StoreNotFound as gone:
            # A half removes nodes of its own at any time (what it was asked for its figures, say):
            # one that was listed has gone meanwhile, which is a conflict like any other.
            raise StoreError(errno.EAGAIN, gone.op, gone.path) from None

    await store.transaction(change, f"moving {old.frontend} of {owner.name}")
    attached.device = new


async def _keys(store: Store, tx: int, frontend: str) -> list[str]:
    """The nodes of a frontend's directory; a queue's are one level deeper."""
    keys = await store.children(frontend, tx)
    queues = [key for key in keys if key.startswith("queue-")]
    for queue in queues:
        keys += [f"{queue}/{key}" for key in await store.children(f"{frontend}/{queue}", tx)]
    return keys
