"""Disk specifications (xl-disk-configuration(5)): positional and ``key=value`` words, with the
error texts of xl's own parser (tools/libs/util/libxlu_disk_l.l)."""

import re
from dataclasses import dataclass
from typing import Final

from hvsim.toolstack.config.errors import ConfigError

FORMATS: Final = ("raw", "qcow", "qcow2", "vhd", "qed")
BACKENDS: Final = ("phy", "tap", "qdisk")
_READ_WRITE: Final = ("rw", "readwrite", "w")
_READ_ONLY: Final = ("ro", "readonly", "r")
_FLAGS: Final = ("cdrom", "discard", "no-discard", "direct-io-safe")
_PREFIX: Final = re.compile(r"([a-z][a-z0-9]*):")
_KNOWN_PREFIXES: Final = (
    "raw",
    "qcow",
    "qcow2",
    "vhd",
    "phy",
    "file",
    "aio",
    "tap",
    "tap2",
    "ioemu",
    "tapdisk",
)


@dataclass(frozen=True, slots=True)
class DiskConfig:
    """One disk of a guest.

    Attributes:
        vdev: its name in the guest ("xvda").
        target: the image or device, as written.
        format: "raw" and so on; only raw ones can be served.
        readonly: the guest may not write.
        backend: the domain that serves it, by name or number; None for dom0.
        backendtype: "phy" and so on, None when left to the toolstack.
        script: the hotplug script, None for the usual one.
        discard: whether the guest may discard blocks.
    """

    vdev: str
    target: str
    format: str = "raw"
    readonly: bool = False
    backend: str | None = None
    backendtype: str | None = None
    cdrom: bool = False
    script: str | None = None
    discard: bool = True


class _DiskParser:
    def __init__(self, spec: str, source: str) -> None:
        self.spec = spec
        self.source = source
        self.format: str | None = None
        self.readonly: bool | None = None
        self.strings: dict[str, str] = {}
        self.cdrom = False
        self.discard = True

    def error(self, message: str, near: str | None = None) -> ConfigError:
        where = f": near `{near}'" if near is not None else ""
        return ConfigError(
            f"{self.source}: config parsing error in disk specification: {message}"
            f"{where} in `{self.spec}'"
        )

    def parse(self) -> DiskConfig:
        rest = self._strip_prefix(self.spec)
        while rest:
            if rest.startswith("target="):  # always last: its commas are part of it
                self._save("target", rest.removeprefix("target=").rstrip(","))
                break
            word, _, rest = rest.partition(",")
            self._word(word)
        if "vdev" not in self.strings:
            raise self.error("no vdev specified")
        if "target" not in self.strings and not self.cdrom:
            raise self.error("no target specified")
        return DiskConfig(
            vdev=self.strings["vdev"],
            target=self.strings.get("target", ""),
            format=self.format or "raw",
            readonly=bool(self.readonly) or self.cdrom,
            backend=self.strings.get("backend"),
            backendtype=self.strings.get("backendtype"),
            cdrom=self.cdrom,
            script=self.strings.get("script"),
            discard=self.discard,
        )

    def _strip_prefix(self, spec: str) -> str:
        """Old configs name a format or backend before the target: ``phy:/dev/sda,xvda,w``."""
        match = _PREFIX.match(spec)
        while match is not None:
            if match[1] not in _KNOWN_PREFIXES:
                raise self.error("unknown deprecated disk prefix", spec)
            self.format = match[1] if match[1] in FORMATS else self.format or "raw"
            spec = spec[match.end() :]
            match = _PREFIX.match(spec)
        return spec

    def _word(self, word: str) -> None:
        word = word.strip()
        key, equals, value = word.partition("=")
        if equals:
            self._key(key, value, word)
        elif word in _FLAGS:
            self._flag(word)
        else:
            self._positional(word)

    def _flag(self, word: str) -> None:
        if word == "cdrom":
            self.cdrom = True
        elif word in ("discard", "no-discard"):
            self.discard = word == "discard"

    def _key(self, key: str, value: str, word: str) -> None:
        if key == "format":
            self._set_format(value)
        elif key == "access":
            self._set_access(value)
        elif key == "devtype":
            if value not in ("disk", "cdrom"):
                raise self.error("unknown value for type", word)
            self.cdrom = value == "cdrom"
        elif key == "backendtype":
            if value not in BACKENDS:
                raise self.error("unknown value for backendtype", value)
            self._save(key, value)
        elif key in ("vdev", "backend", "script"):
            self._save(key, value)
        else:
            raise self.error("unknown parameter", word)

    def _positional(self, word: str) -> None:
        if "target" not in self.strings:
            self._save("target", word)
        elif self.format is None:
            self._set_format(word)
        elif "vdev" not in self.strings:
            name, colon, kind = word.rpartition(":")
            if colon and kind not in ("disk", "cdrom"):
                raise self.error("unknown deprecated type", kind)
            self.cdrom = self.cdrom or kind == "cdrom"
            self._save("vdev", name if colon else word)
        elif self.readonly is None:
            self._set_access(word)
        elif word:
            raise self.error("too many positional parameters", word)

    def _set_format(self, value: str) -> None:
        if value and value not in FORMATS:
            raise self.error("unknown value for format", value)
        self.format = value or "raw"

    def _set_access(self, value: str) -> None:
        if value in _READ_WRITE:
            self.readonly = False
        elif value in _READ_ONLY:
            self.readonly = True
        elif value:
            raise self.error("unknown value for access", value)

    def _save(self, key: str, value: str) -> None:
        if self.strings.get(key):
            raise self.error(f"{key} specified more than once", value)
        if value or key == "target":
            self.strings[key] = value


def parse_disk(spec: str, source: str = "command line") -> DiskConfig:
    """Parse one disk specification; *source* begins the error text.

    Raises: ConfigError, exit code 1.
    """
    return _DiskParser(spec, source).parse()
