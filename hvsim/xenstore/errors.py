"""The one exception of the store's rules: a request that is refused."""

from hvsim.abi import errno as xen_errno


class Refused(Exception):
    """A request is answered with XS_ERROR.

    Attributes:
        errno: one of the numbers of ``xs_wire.XSD_ERRORS``.
    """

    def __init__(self, errno: int) -> None:
        super().__init__(xen_errno.name(errno))
        self.errno = errno
