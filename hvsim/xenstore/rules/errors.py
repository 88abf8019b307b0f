"""The one exception of the store's rules: a request that is refused."""

from hvsim.abi import errno as xen_errno


class Refused(Exception):
    """A request is answered with XS_ERROR.

    Attributes:
        errno: one of the numbers of ``xs_wire.XSD_ERRORS``.
        limit: name of the quota that is the reason, as ``control quota`` spells it; "" for others.
        domid: whose quota; -1 for that of who asked.
    """

    def __init__(self, errno: int, limit: str = "", domid: int = -1) -> None:
        super().__init__(xen_errno.name(errno))
        self.errno = errno
        self.limit = limit
        self.domid = domid
