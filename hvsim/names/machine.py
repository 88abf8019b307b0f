"""Uuids of virtual machines."""

import re
from typing import Final

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def parse_uuid(text: str) -> str | None:
    """A uuid in small letters; None for what is none: five groups of digits with dashes between,
    and nothing else, as libxl wants it."""
    return text.lower() if _UUID.fullmatch(text) else None
