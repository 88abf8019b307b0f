"""How a rule says no."""


class XenError(Exception):
    """A hypercall is refused.

    Attributes:
        errno: the positive Xen error number (``hvsim.abi.errno``) that the caller gets.
        why: a line for the ledger; empty for refusals that are everyday business.
    """

    def __init__(self, errno: int, why: str = "") -> None:
        super().__init__(errno, why)
        self.errno = errno
        self.why = why
