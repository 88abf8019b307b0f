"""Failures of the toolstack, in libxl's words."""

from typing import Final

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


def libxl(text: str, level: str = "error") -> str:
    """A line of libxl's log."""
    return f"libxl: {level}: {text}"


def absent(domid: int) -> list[str]:
    """The three lines about a domain that is not there."""
    return [libxl(line.format(domid)) for line in ABSENT]
