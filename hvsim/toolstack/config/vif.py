"""Network interface specifications (xl-network-configuration(5)), with xl's texts (compared with
the installed xl by tests/config)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hvsim.names import mac
from hvsim.names.number import from_digits
from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.rate import parse_rate

DEFAULT_BRIDGE: Final = "xenbr0"
KEYS: Final = (
    "type", "mac", "bridge", "netdev", "gatewaydev", "ip", "script", "vifname", "model", "rate",
    "accel", "backend", "devid", "mtu", "forwarddev",
)  # fmt: skip
FLAGS: Final = ("trusted", "untrusted")
_TEXTS: Final = {
    "bridge": "bridge",
    "gatewaydev": "gatewaydev",
    "netdev": "gatewaydev",
    "ip": "ip",
    "script": "script",
    "vifname": "ifname",
    "model": "model",
    "backend": "backend",
    "forwarddev": "forwarddev",
}
_NUMBER: Final = re.compile(r"[ \t\n\v\f\r]*[+]?([0-9]+)")


@dataclass(frozen=True, slots=True)
class VifConfig:
    """One network interface of a guest.  What is None was not said.

    Attributes:
        mac: None when one is to be made up.
        bridge: which it is plugged into, in the domain that serves it.
        ip: addresses of the guest, as written: "10.0.0.2" or "10.0.0.2/24", with blanks between.
        rate: (bytes in an interval, the interval in microseconds).
        backend: the domain that serves it, by name or number; None for dom0.
        script: the hotplug script.
        ifname: the name of the link in the backend.
        mtu: bytes; 0 is as good as None.
        gatewaydev: the link of the backend that a routed interface goes through.
        devid: its number.
        kind: "vif" or "ioemu".
        trusted: whether the frontend is to trust its backend.
    """

    mac: str | None = None
    bridge: str | None = None
    ip: str | None = None
    rate: tuple[int, int] | None = None
    backend: str | None = None
    script: str | None = None
    ifname: str | None = None
    mtu: int | None = None
    gatewaydev: str | None = None
    devid: int | None = None
    kind: str | None = None
    model: str | None = None
    trusted: bool | None = None
    forwarddev: str | None = None


class _VifParser:
    """The words of one interface; *said* collects what xl prints and yet goes on."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: dict[str, object] = {}
        self.said: list[str] = []
        self.bad: list[str] = []
        self.address = bytes(mac.LENGTH)

    def word(self, word: str) -> None:
        """Take one.  Raises: ConfigError."""
        key, equals, value = word.partition("=")
        if not equals:
            if key not in FLAGS:
                self._refuse(f"unrecognized argument `{word}'")
            else:
                self.found["trusted"] = key == "trusted"
        elif key in _TEXTS:
            if key == "netdev":
                self.said.append(
                    "the netdev parameter is deprecated, please use gatewaydev instead"
                )
            self.found[_TEXTS[key]] = value
        elif key == "mac":
            self._mac(value)
        elif key == "type":
            if value not in ("vif", "ioemu"):
                self._refuse("Invalid parameter `type'.")
            else:
                self.found["kind"] = value
        elif key == "rate":
            self.found["rate"] = parse_rate(value, self.source)
        elif key in ("devid", "mtu"):
            self.found[key] = _number(value)
        elif key == "accel":
            self.said.append("the accel parameter for vifs is currently not supported")
        else:
            self._refuse(f"unrecognized argument `{word}'")

    def _mac(self, value: str) -> None:
        # xl writes over the former address byte by byte, up to the mistake.
        address, whole = mac.read(value)
        known = mac.LENGTH if whole else len(address.rstrip(b"\0"))
        self.address = address[:known] + self.address[known:]
        if not whole:
            self._refuse("Invalid parameter `mac'.")

    def _refuse(self, text: str) -> None:
        self.said.append(text)
        self.bad.append(text)

    def vif(self) -> VifConfig:
        address = mac.text_of(self.address) if any(self.address) else None
        return VifConfig(mac=address, **self.found)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class ParsedVif:
    """What the words of an interface came to.

    Attributes:
        said: what xl prints, in its order.
        bad: those of it that tell of a word which was left out: a config goes on without it, a
            command does not.
    """

    vif: VifConfig
    said: tuple[str, ...]
    bad: tuple[str, ...]


def words_of(spec: str) -> list[str]:
    """The words of an interface as a config writes it: commas part them, blanks before one mean
    nothing."""
    return [word.lstrip(" ") for word in spec.split(",") if word]


def parse_vif(words: Iterable[str], source: str = "command line") -> ParsedVif:
    """Parse ``key=value`` words: those of `words_of`, or those of ``xl network-attach``.

    Raises: ConfigError for what xl gives up at: a rate or a number that is none.
    """
    parser = _VifParser(source)
    for word in words:
        try:
            parser.word(word)
        except ConfigError as error:
            raise ConfigError(*error.faults, warnings=parser.said) from None
    return ParsedVif(parser.vif(), tuple(parser.said), tuple(parser.bad))


def _number(text: str) -> int:
    match = _NUMBER.match(text)
    if match is None:
        raise ConfigError(f'xl: failed to convert "{text}" to number')
    return min(from_digits(match[1]), (1 << 64) - 1) & 0xFFFFFFFF
