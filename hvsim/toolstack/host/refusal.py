"""Why something cannot be made: once in libxl's words, once as a sentence with place and remedy."""

import os
from dataclasses import dataclass

from hvsim.toolstack.host.errors import ToolstackError


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something cannot be made.

    Attributes:
        place: of what: "disk xvda", "vif 0", or a key.
        text: what is wrong, without the place.
        remedy: what to do.
        lines: libxl's words, "{domid}" for the domain's number; none where libxl has none.
        code: xl's exit code.
    """

    place: str
    text: str
    remedy: str
    lines: tuple[str, ...] = ()
    code: int = 1

    def said(self, domid: int | None = None) -> list[str]:
        """The lines for xl's user."""
        if not self.lines:
            return [f"xl: {self.place}: {self.text}; {self.remedy}"]
        return [line.replace("{domid}", str(domid)) for line in self.lines]

    def error(self, domid: int | None = None) -> ToolstackError:
        """The same as an exception."""
        return ToolstackError(*self.said(domid), code=self.code)


def because(failure: OSError | ValueError) -> str:
    """Why a path leads nowhere; a ValueError is one with a NUL character."""
    return os.strerror(failure.errno or 0) if isinstance(failure, OSError) else str(failure)
