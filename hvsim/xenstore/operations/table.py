"""What each request does.

Every operation takes the session that asks, the payload and the transaction (None outside), and
returns the payload of the reply; it raises :class:`Refused` for an XS_ERROR.  None of them waits.

A payload that is empty or lacks its NUL is EINVAL, but ENOENT where one name is all that it should
hold (recording 86; C xenstored 4.17.7 was also seen to die of an empty READ from a guest's ring, in
which there is nothing to agree with).

Source: docs/misc/xenstore.txt; tools/xenstore/xenstored_core.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hvsim.abi import xs_wire
from hvsim.xenstore.operations import change, domains, read, transactions, watches
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.transaction import Transaction

Operation = Callable[[Session, bytes, Transaction | None], bytes]

OPERATIONS: Final[dict[int, Operation]] = {
    xs_wire.XS_CONTROL: domains.control,
    xs_wire.XS_DIRECTORY: read.directory,
    xs_wire.XS_READ: read.read,
    xs_wire.XS_GET_PERMS: read.get_perms,
    xs_wire.XS_WATCH: watches.watch,
    xs_wire.XS_UNWATCH: watches.unwatch,
    xs_wire.XS_TRANSACTION_START: transactions.transaction_start,
    xs_wire.XS_TRANSACTION_END: transactions.transaction_end,
    xs_wire.XS_INTRODUCE: domains.introduce,
    xs_wire.XS_RELEASE: domains.release,
    xs_wire.XS_GET_DOMAIN_PATH: domains.get_domain_path,
    xs_wire.XS_WRITE: change.write,
    xs_wire.XS_MKDIR: change.mkdir,
    xs_wire.XS_RM: change.rm,
    xs_wire.XS_SET_PERMS: change.set_perms,
    xs_wire.XS_IS_DOMAIN_INTRODUCED: domains.is_introduced,
    xs_wire.XS_RESUME: domains.resume,
    xs_wire.XS_SET_TARGET: domains.set_target,
    xs_wire.XS_RESET_WATCHES: watches.reset_watches,
    xs_wire.XS_DIRECTORY_PART: read.directory_part,
}
"""XS_* to operation.  What is not in here is answered with ENOSYS."""
