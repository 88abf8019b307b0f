"""The hypervisor: the small mediator between domains, and nothing else.

It holds domains, frames, grants, event channels and the ledger of what happened. It has no
driver, no file system and no xenstore, and imports nothing of this project but ``hvsim.abi``.

Everything but ``server`` (which waits) and ``kernel`` (which makes descriptors) is plain classes:
no I/O, no clock, no dice; those are handed in as a :class:`~hvsim.hypervisor.host.Host`.
"""
