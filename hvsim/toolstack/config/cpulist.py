"""Lists of host CPUs: ``0-3,^1``, ``all,^node:1`` (xl.cfg(5), ``cpus=``)."""

import re
from typing import Final

from hvsim.names.number import from_digits
from hvsim.toolstack.config.errors import ConfigError

_RANGE: Final = re.compile(r"(\^?)(node(?:s)?:)?(\^?)(?:([0-9]+)(?:-([0-9]+))?|(all))")


def width(cpus: int) -> int:
    """CPUs that a bitmap of a host with *cpus* has room for: whole bytes."""
    return -(-cpus // 8) * 8


def parse_cpus(text: str, cpus: int) -> set[int]:
    """The CPUs that *text* names on a host of *cpus* CPUs in one NUMA node; CPUs that it has not
    are left out.

    Raises: ConfigError.
    """
    found: set[int] = set()
    for part in text.split(","):
        if not part:
            continue
        match = _RANGE.fullmatch(part.lstrip(" "))
        if match is None or (match[1] and match[3]):
            raise ConfigError(f"Invalid pcpu range: {part}.")
        excluded, node, late, first, last, every = match.groups()
        if every:
            named = set(range(width(cpus)))
        else:
            low, high = from_digits(first), from_digits(last or first)
            if high < low:
                raise ConfigError(f"Invalid pcpu range: {part}.")
            if node:
                named = set(range(cpus)) if low == 0 else set()
            else:
                named = set(range(min(low, width(cpus)), min(high + 1, width(cpus))))
        found = found - named if excluded or late else found | named
    return found
