"""An answer that comes later than the end of the call's handler."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Deferred:
    """The answer to a call comes later, through ``Host.reply``."""


DEFERRED: Final = Deferred()
