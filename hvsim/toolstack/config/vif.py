"""Network interface specifications (xl-network-configuration(5)), with the texts of xl's own parser
(tools/xl/xl_parse.c, tools/libs/util/libxlu_vif.c)."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hvsim.toolstack.config.errors import ConfigError

DEFAULT_BRIDGE: Final = "xenbr0"
DEFAULT_INTERVAL: Final = 50_000
"""Microseconds over which a rate is counted unless it says otherwise."""
IFNAME_MAX: Final = 15
"""Bytes of a link's name (IFNAMSIZ - 1)."""
MTU_MIN: Final = 68
MTU_MAX: Final = 65535

_MAC: Final = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_RATE: Final = re.compile(r"([0-9]{1,9})([GMK]?)([Bb])/s(?:@([0-9]{1,9})([mu]?)s)?")
_LINK: Final = re.compile(r"[A-Za-z0-9_.:-]{1,15}")
_SCALE: Final = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}
_MICROSECONDS: Final = {"": 1_000_000, "m": 1000, "u": 1}
_IGNORED: Final = ("model", "accel", "netdev", "forwarddev", "devid", "trusted")
"""What means nothing to a paravirtual interface of this host."""


@dataclass(frozen=True, slots=True)
class VifConfig:
    """One network interface of a guest.

    Attributes:
        mac: None when one is to be made up.
        bridge: which it is plugged into, in the domain that serves it.
        ip: addresses of the guest, as written: "10.0.0.2" or "10.0.0.2/24".
        rate: (bytes in an interval, the interval in microseconds), None without a limit.
        backend: the domain that serves it, by name or number; None for dom0.
        script: the hotplug script, None for the usual one.
        ifname: the name of the link in the backend, None for vif<domid>.<n>.
    """

    mac: str | None = None
    bridge: str = DEFAULT_BRIDGE
    ip: str | None = None
    rate: tuple[int, int] | None = None
    backend: str | None = None
    script: str | None = None
    ifname: str | None = None
    mtu: int | None = None
    gatewaydev: str | None = None


def parse_vif(words: Iterable[str]) -> tuple[VifConfig, str | None]:
    """Parse ``key=value`` words; returns what was understood and xl's text for the word that
    ended it, None when all were.

    As in xl everything before a bad word counts (a config with one goes on without the rest).
    """
    found: dict[str, object] = {}
    for word in (part.strip() for one in words for part in one.split(",")):
        if not word:
            continue
        key, equals, value = word.partition("=")
        try:
            if not equals:
                raise ConfigError(f"unrecognized argument `{word}'")
            if key not in _IGNORED:
                found.update(_word(key, value, word))
        except ConfigError as error:
            return VifConfig(**found), error.lines[0]  # type: ignore[arg-type]
    return VifConfig(**found), None  # type: ignore[arg-type]


def _word(key: str, value: str, word: str) -> dict[str, object]:
    if key == "mac":
        if not _MAC.fullmatch(value):
            raise ConfigError("Invalid parameter `mac'.")
        return {"mac": value.lower()}
    if key == "type":
        if value not in ("vif", "ioemu"):
            raise ConfigError(f"Invalid parameter `type'. {value!r} is neither vif nor ioemu")
        return {}
    if key == "ip":
        return {"ip": _addresses(value)}
    if key == "rate":
        return {"rate": parse_rate(value)}
    if key == "mtu":
        if not value.isdecimal() or not MTU_MIN <= int(value) <= MTU_MAX:
            raise ConfigError(f"Invalid parameter `mtu': {MTU_MIN} to {MTU_MAX} is wanted")
        return {"mtu": int(value)}
    if key in ("bridge", "gatewaydev", "vifname"):
        if not _LINK.fullmatch(value) or value in (".", ".."):
            raise ConfigError(
                f"Invalid parameter `{key}': a link's name has up to {IFNAME_MAX} letters"
            )
        return {"ifname" if key == "vifname" else key: value}
    if key in ("backend", "script"):
        return {key: value}
    raise ConfigError(f"unrecognized argument `{word}'")


def _addresses(value: str) -> str:
    for one in value.split():
        try:
            ipaddress.ip_interface(one)
        except ValueError:
            raise ConfigError(f"Invalid parameter `ip': {one} is no address") from None
    return value


def parse_rate(text: str) -> tuple[int, int]:
    """``10Mb/s@20ms``: (bytes in an interval, the interval in microseconds).

    Raises: ConfigError in the words of libxlu.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise ConfigError(f"command line: config parsing error in vif: invalid rate in `{text}'")
    number, scale, unit, interval, part = match.groups()
    rate = int(number) * _SCALE[scale] // (8 if unit == "b" else 1)
    microseconds = DEFAULT_INTERVAL
    if interval is not None:
        microseconds = int(interval) * _MICROSECONDS[part]
    if not rate or not 0 < microseconds < 1 << 32:
        raise ConfigError(f"command line: config parsing error in vif: invalid rate in `{text}'")
    return rate * microseconds // 1_000_000, microseconds
