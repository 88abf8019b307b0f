"""Failures of the toolstack, in libxl's words."""

import errno
from typing import Final

from hvsim import shortage
from hvsim.domain.hypercall import HypercallError
from hvsim.xs.requests import StoreError

ERROR_INVAL: Final = -6
ERROR_DOMAIN_NOTFOUND: Final = -21

ABSENT: Final = (
    "libxl_domain.c:1183:libxl__destroy_domid: Domain {0}:Non-existant domain",
    "libxl_domain.c:1137:domain_destroy_callback: Domain {0}:Unable to destroy guest",
    "libxl_domain.c:1064:domain_destroy_cb: Domain {0}:Destruction of domain failed",
)
"""What libxl says when it destroys a domain that is not (or no longer) there."""


class ToolstackError(Exception):
    """An operation failed.

    Attributes:
        lines: what xl prints on stderr.
        code: xl's exit code.
    """

    def __init__(self, *lines: str, code: int = 1) -> None:
        super().__init__("\n".join(lines))
        self.lines = list(lines)
        self.code = code


def reason(failure: Exception) -> str:
    """What an error of the store, of the hypervisor or of the machine says to a person."""
    if isinstance(failure, HypercallError) and failure.errno == errno.EMFILE:
        return f"{shortage.no_files()} ({failure})"
    if isinstance(failure, OSError) and not isinstance(failure, StoreError | HypercallError):
        return shortage.told(failure) or str(failure)
    return str(failure)


def libxl(text: str, level: str = "error") -> str:
    """A line of libxl's log."""
    return f"libxl: {level}: {text}"


def absent(domid: int) -> list[str]:
    """The three lines about a domain that is not there."""
    return [libxl(line.format(domid)) for line in ABSENT]
