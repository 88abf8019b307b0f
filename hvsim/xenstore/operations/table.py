"""What each request does.

Every operation takes the connection, the payload and the transaction (None outside), and returns
the payload of the reply; it raises :class:`Refused` for an XS_ERROR.  None of them waits.

A payload that is empty or lacks its NUL is EINVAL, but ENOENT where one name is all that it should
hold (recording 86; C xenstored 4.17.7 was also seen to die of an empty READ from a guest's ring, in
which there is nothing to agree with).

Source: docs/misc/xenstore.txt; tools/xenstore/xenstored_core.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim.abi import xs_wire
from hvsim.xenstore.operations import change as verbs_change
from hvsim.xenstore.operations import domains as verbs_domain
from hvsim.xenstore.operations import read as verbs_read
from hvsim.xenstore.operations import session as verbs_session
from hvsim.xenstore.rules.transaction import Transaction

if TYPE_CHECKING:
    from hvsim.xenstore.rules.connection import Connection

Operation = Callable[["Connection", bytes, Transaction | None], bytes]

OPERATIONS: Final[dict[int, Operation]] = {
    xs_wire.XS_CONTROL: verbs_domain.control,
    xs_wire.XS_DIRECTORY: verbs_read.directory,
    xs_wire.XS_READ: verbs_read.read,
    xs_wire.XS_GET_PERMS: verbs_read.get_perms,
    xs_wire.XS_WATCH: verbs_session.watch,
    xs_wire.XS_UNWATCH: verbs_session.unwatch,
    xs_wire.XS_TRANSACTION_START: verbs_session.transaction_start,
    xs_wire.XS_TRANSACTION_END: verbs_session.transaction_end,
    xs_wire.XS_INTRODUCE: verbs_domain.introduce,
    xs_wire.XS_RELEASE: verbs_domain.release,
    xs_wire.XS_GET_DOMAIN_PATH: verbs_domain.get_domain_path,
    xs_wire.XS_WRITE: verbs_change.write,
    xs_wire.XS_MKDIR: verbs_change.mkdir,
    xs_wire.XS_RM: verbs_change.rm,
    xs_wire.XS_SET_PERMS: verbs_change.set_perms,
    xs_wire.XS_IS_DOMAIN_INTRODUCED: verbs_domain.is_introduced,
    xs_wire.XS_RESUME: verbs_domain.resume,
    xs_wire.XS_SET_TARGET: verbs_domain.set_target,
    xs_wire.XS_RESET_WATCHES: verbs_session.reset_watches,
    xs_wire.XS_DIRECTORY_PART: verbs_read.directory_part,
}
"""XS_* to operation.  What is not in here is answered with ENOSYS."""
