"""How fast an interface may send: ``10Mb/s@20ms`` (xl-network-configuration(5))."""

import re
from typing import Final

from hvsim.names.number import from_digits
from hvsim.toolstack.config.errors import ConfigError

DEFAULT_INTERVAL: Final = 50_000
"""Microseconds after which what may be sent is counted anew, unless it is said."""
_RATE: Final = re.compile(r"([0-9]+)([GMK]?)([Bb])/s")
_INTERVAL: Final = re.compile(r"([0-9]+)([mu]?s?)")
_SCALE: Final = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}
_MICROSECONDS: Final = {"": 1_000_000, "s": 1_000_000, "m": 1000, "ms": 1000, "u": 1, "us": 1}
_UINT32: Final = (1 << 32) - 1
_UINT64: Final = (1 << 64) - 1


def parse_rate(text: str, source: str = "command line") -> tuple[int, int]:
    """(bytes in an interval, the interval in microseconds).

    Raises: ConfigError in the words of libxlu; *source* begins them.
    """

    def error(what: str, part: str) -> ConfigError:
        return ConfigError(f"{source}: config parsing error in vif: {what} in `{part}'")

    rate, at, interval = text.partition("@")
    if not rate:
        raise error("no rate specified", rate)
    match = _RATE.fullmatch(rate)
    if match is None:
        raise error("invalid rate", rate)
    number = _strtoull(match[1])
    rate_bytes = number * _SCALE[match[2]]
    if match[3] == "b":
        rate_bytes //= 8
    if not 0 < number <= _UINT32:
        raise error("rate overflow", rate)
    microseconds = DEFAULT_INTERVAL
    if at:
        match = _INTERVAL.fullmatch(interval)
        if match is None:
            raise error("invalid replenishment interval", interval)
        microseconds = _strtoull(match[1]) * _MICROSECONDS[match[2]]
        if not 0 < microseconds <= _UINT32:
            raise error("replenishment interval overflow", interval)
    return rate_bytes * microseconds // 1_000_000, microseconds


def _strtoull(digits: str) -> int:
    """C's number of *digits*, at most the greatest."""
    if digits.startswith("0"):
        octal = re.match("[0-7]+", digits)
        return min(from_digits(octal[0], 8) if octal else 0, _UINT64)
    return min(from_digits(digits), _UINT64)
