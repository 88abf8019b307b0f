"""Disk specifications (xl-disk-configuration(5)): flags, ``key=value`` and positional words, and
the deprecated prefixes, with xl's texts (compared with the installed xl by tests/config).

White space before a word means nothing, that behind it is part of it.  Of the words that a position
could begin with the longest counts, as in any scanner: ``raw:x`` is a prefix and a target, but
``block-x:y`` is a target.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.numbers import atoi

FORMATS: Final = ("raw", "qcow", "qcow2", "vhd", "qed", "empty")
BACKENDS: Final = ("phy", "tap", "qdisk", "standalone")
SPECIFICATIONS: Final = ("xen", "virtio")
READ_WRITE: Final = ("rw", "w", "")
READ_ONLY: Final = ("ro", "r")
SHARED: Final = "w!"
"""Writable, although others have it as well: the word of the block scripts, which no xl takes."""
KEYS: Final = (
    "format", "access", "vdev", "target", "devtype", "backend", "backendtype", "script",
    "specification", "colo-host", "colo-port", "colo-export", "active-disk", "hidden-disk",
)  # fmt: skip
FLAGS: Final = ("cdrom", "discard", "no-discard", "direct-io-safe", "colo", "no-colo")

_KEYED: Final = "|".join(KEYS)
_RULES: Final = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        # In the order of preference of matches of the same length.
        ("blank", r"[ \t\n]+"),
        ("target", r"target=[^\n]*"),
        ("key", rf"(?:{_KEYED})=[^,\n]*,?"),
        ("flag", rf"(?:{'|'.join(FLAGS)})(?:,|\Z)"),
        ("format:", r"(?:raw|qcow2?|vhd):[^\n]*"),
        ("script:", r"(?:iscsi|e?nbd|drbd):[^\n]*"),
        ("ignored:", r"(?:tapdisk|tap2?|aio|ioemu|file|phy):[^\n]*"),
        ("unknown:", r"[a-z][a-z0-9]*:(?:[^a-z0-9\n][^\n]*)?"),
        ("unknown", r"[a-z][-a-z0-9]*=[^,\n],?"),
        ("positional", r"(?:[^=, \t\n][^=,\n]*)?,?"),
    )
)
_COLO: Final = {
    "colo-host": "colo_host",
    "colo-export": "colo_export",
    "active-disk": "active_disk",
    "hidden-disk": "hidden_disk",
}
_NUMBER: Final = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]")


@dataclass(frozen=True, slots=True)
class DiskConfig:
    """One disk of a guest.

    Attributes:
        vdev: its name in the guest ("xvda"), as written.
        target: the image or device, as written; None for an empty drive.
        format: "raw" and so on.
        readonly: the guest may not write.
        shared: others may have the image as well.
        backend: the domain that serves it, by name or number; None for dom0.
        backendtype: "phy" and so on, None when left to the toolstack.
        script: the hotplug script, None for the usual one.
        discard: whether the guest may discard blocks; None when not said.
        colo: what is said of COLO, by libxl's names.
    """

    vdev: str
    target: str | None
    format: str = "raw"
    readonly: bool = False
    shared: bool = False
    backend: str | None = None
    backendtype: str | None = None
    cdrom: bool = False
    script: str | None = None
    discard: bool | None = None
    direct_io_safe: bool = False
    specification: str | None = None
    colo: tuple[tuple[str, str | int | bool], ...] = ()


class _Stop(Exception):
    """The scanner gives up; why was said."""


class _DiskParser:
    """The words of one disk; *errors* collects what is wrong with them."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.spec = ""
        self.errors: list[str] = []
        self.strings: dict[str, str] = {}
        self.choices: dict[str, str] = {}
        self.colo: dict[str, str | int | bool] = {}
        self.readonly = False
        self.shared = False
        self.access_seen = False
        self.prefixed = False
        self.cdrom = False
        self.direct_io_safe = False
        self.discard: bool | None = None

    def fail(self, message: str, near: str | None = None) -> None:
        where = f": near `{near}'" if near is not None else ""
        self.errors.append(
            f"{self.source}: config parsing error in disk specification: {message}"
            f"{where} in `{self.spec}'"
        )

    def parse(self, specs: Sequence[str]) -> DiskConfig:
        for spec in specs:
            self.spec = spec
            try:
                self._scan(spec)
            except _Stop:
                break
            if self.errors:
                break
        if not self.errors:
            self._finish()
        if self.errors:
            raise ConfigError(*self.errors)
        return DiskConfig(
            vdev=self.strings["vdev"],
            target=self.strings.get("target"),
            format=self.choices["format"],
            readonly=self.readonly,
            shared=self.shared,
            backend=self.strings.get("backend"),
            backendtype=self.choices.get("backendtype"),
            cdrom=self.cdrom,
            script=self.strings.get("script"),
            discard=self.discard,
            direct_io_safe=self.direct_io_safe,
            specification=self.choices.get("specification"),
            colo=(
                *self.colo.items(),
                *((name, self.strings[key]) for key, name in _COLO.items() if key in self.strings),
            ),
        )

    def _finish(self) -> None:
        """Defaults, and what must not be missing."""
        if self.cdrom:
            self.readonly = True
            if not self.strings.get("target"):
                self.choices["format"] = "empty"
        self.choices.setdefault("format", "raw")
        if "vdev" not in self.strings:
            self.fail("no vdev specified")
        elif "target" not in self.strings and not self.cdrom:
            self.fail("no target specified (and device not removable)")

    def _scan(self, spec: str) -> None:
        at = 0
        while at < len(spec):
            name, word = "", ""
            for rule, pattern in _RULES:
                match = pattern.match(spec, at)
                if match is not None and len(match.group()) > len(word):
                    name, word = rule, match.group()
            if not word:
                if not spec[at + 1 :]:
                    return  # a lone sign at the end goes unnoticed
                self.fail("bad disk syntax", spec[at:])
                raise _Stop
            at += self._word(name, word)

    def _word(self, rule: str, word: str) -> int:
        """Take a word; returns how much of it is done with."""
        if rule.endswith(":"):
            prefix = word[: word.index(":") + 1]
            self._prefix(rule, prefix)
            return len(prefix)
        if rule == "unknown":
            self.fail("unknown parameter", word)
        elif rule != "blank":
            bare = word[:-1] if word.endswith(",") else word
            if rule == "flag":
                self._flag(bare)
            elif rule == "positional":
                self._positional(bare)
            else:
                key, _, value = bare.partition("=")
                self._key(key, value, word)
        return len(word)

    def _prefix(self, rule: str, prefix: str) -> None:
        """Old configs name a format or a backend before the target: ``phy:/dev/sda,xvda,w``."""
        if rule == "unknown:":
            self.fail("unknown deprecated disk prefix", prefix)
            raise _Stop
        self.prefixed = True
        if rule == "format:":
            self._choose("format", prefix[:-1], FORMATS)
        elif rule == "script:":
            self._save("script", f"block-{prefix[:-1]}")

    def _flag(self, word: str) -> None:
        if word == "cdrom":
            self.cdrom = True
        elif word.endswith("discard"):
            self.discard = word == "discard"
        elif word == "direct-io-safe":
            self.direct_io_safe = True
        else:
            self.colo["colo_enable"] = word == "colo"

    def _key(self, key: str, value: str, word: str) -> None:
        if key == "format":
            self._choose("format", value, FORMATS)
        elif key == "access":
            self._access(value)
        elif key == "devtype":
            if value not in ("disk", "cdrom"):
                self.fail("unknown value for type", word)
            self.cdrom = value == "cdrom"
        elif key == "backendtype":
            self._choose(key, value, BACKENDS)
        elif key == "specification":
            self._choose(key, value, SPECIFICATIONS)
        elif key == "colo-port":
            if _NUMBER.match(value) is None:
                self.fail("unknown value for colo_port", value)
            else:
                self.colo["colo_port"] = atoi(value)
        elif key in _COLO:
            self._save(key, value)
        else:
            self._save(key, value)

    def _positional(self, word: str) -> None:
        if self.errors:
            return  # what was said may be why this one makes no sense
        if "target" not in self.strings:
            self._save("target", word)
        elif "format" not in self.choices and not self.prefixed:
            name, colon, kind = word.rpartition(":")
            if not self.strings["target"] and colon:  # an empty drive of old configs
                self.choices["format"] = "empty"
                self._vdev(name, kind)
            else:
                self._choose("format", word, FORMATS)
        elif "vdev" not in self.strings:
            name, colon, kind = word.rpartition(":")
            if colon:
                self._vdev(name, kind)
            else:
                self._save("vdev", word)
        elif not self.access_seen:
            self.access_seen = True
            self._access(word)
        else:
            self.fail("too many positional parameters", word)
            raise _Stop

    def _vdev(self, name: str, kind: str) -> None:
        self._save("vdev", name)
        if kind not in ("disk", "cdrom"):
            self.fail("unknown deprecated type", kind)
        self.cdrom = kind == "cdrom"

    def _access(self, value: str) -> None:
        if value not in (*READ_WRITE, *READ_ONLY, SHARED):
            self.fail("unknown value for access", value)
        self.readonly = value in READ_ONLY
        self.shared = value == SHARED

    def _choose(self, key: str, value: str, known: Sequence[str]) -> None:
        chosen = value or ("raw" if key == "format" else "")
        if chosen not in known:
            self.fail(f"unknown value for {key}", value)
        elif self.choices.setdefault(key, chosen) != chosen:
            self.fail(f"{key} respecified", value)

    def _save(self, key: str, value: str) -> None:
        if self.strings.get(key):
            self.fail(f"{key} respecified", value)
        else:
            self.strings[key] = value


def parse_disk(specs: str | Sequence[str], source: str = "command line") -> DiskConfig:
    """Parse one disk: one specification, or several that say it together, as the words of
    ``xl block-attach`` do.  *source* begins the error texts.

    Raises: ConfigError with every error, exit code 1.
    """
    return _DiskParser(source).parse([specs] if isinstance(specs, str) else specs)
