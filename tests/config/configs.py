"""The configs that ours and the real xl are compared with, and how what xl said of them is kept.

`xl-4.17.jsonl` has what the installed xl said (written by `python -m tests.config.record`), one
config a line: a fingerprint of the text, the exit code, the lines on stderr, and what its JSON has
that the plain config's has not (null: what it lacks).
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.config import (
    cases_devices,
    cases_disk,
    cases_examples,
    cases_keys,
    cases_syntax,
    cases_vif,
)

RECORD: Final = Path(__file__).parent / "xl-4.17.jsonl"
SOURCE: Final = "c"
"""What xl and we call the file."""
PLAIN: Final = 'name = "t"\nkernel = "/k"\nmemory = 64\n'
HVM: Final = PLAIN + 'type = "hvm"\n'
PVH: Final = PLAIN + 'type = "pvh"\n'
BOOT: Final = 'name = "t"\nmemory = 64\n'

Said = tuple[int, list[str], dict[str, Any] | None]
"""Exit code, lines on stderr, and the JSON flattened, without the uuid that xl makes up."""


def _quoted(spec: str) -> str:
    """A specification as a string of a config, quoted so that nothing in it is an escape."""
    escaped = spec.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
    return '"' + escaped.replace('"', '\\"') + '"'


def alone(lines: str) -> str:
    """A PV guest's config with those lines."""
    return f"{PLAIN}{lines}\n"


def disk_text(spec: str) -> str:
    """A PV guest's config with that one disk."""
    return alone(f"disk = [ {_quoted(spec)} ]")


def _texts() -> Iterator[str]:
    yield PLAIN
    for disk in (*cases_examples.DISKS, *cases_disk.DISKS):
        yield disk_text(disk)
    for vif in (*cases_examples.VIFS, *cases_vif.VIFS):
        yield alone(f"vif = [ {_quoted(vif)} ]")
    for lines in (*cases_examples.LINES, *cases_devices.LINES, *cases_keys.LINES):
        yield alone(lines)
    for lines in (*cases_examples.HVM_LINES, *cases_keys.HVM_LINES):
        yield f"{HVM}{lines}\n"
    for lines in cases_keys.PVH_LINES:
        yield f"{PVH}{lines}\n"
    for lines in cases_keys.BOOT_LINES:
        yield f"{BOOT}{lines}\n"
    yield from cases_syntax.TEXTS
    yield from _every_key()


def _every_key() -> Iterator[str]:
    """All keys in one config, with values of the wrong kind: xl's order shows in its warnings."""
    for head in (PLAIN, HVM, PVH):
        for value in ('[["x"]]', '"x"', "1", "0"):
            yield head + "".join(f"{key} = {value}\n" for key in _harmless(value))


def _harmless(value: str) -> list[str]:
    """The keys that do not end xl with this value."""
    from hvsim.toolstack.config.keys import KEYS

    fatal = _ENDS_LIST if value.startswith("[") else _ENDS_LIST | _ENDS_TEXT
    return sorted(key.name for key in KEYS if key.name not in fatal)


_ENDS_LIST: Final = {
    "type",
    "builder",
    "name",
    "uuid",
    "memory",
    "kernel",
    "vnuma",
    "vsnd",
    "viridian",
    "mca_caps",
    "pci",
    "ioports",
    "irqs",
    "iomem",
    "cpus",
    "cpus_soft",
    "max_grant_frames",
    "max_maptrack_frames",
    "max_grant_version",
    "cpuid",
    "ms_vm_genid",
}
_ENDS_TEXT: Final = {
    "vuart",
    "on_poweroff",
    "on_reboot",
    "on_watchdog",
    "on_crash",
    "on_soft_reset",
    "passthrough",
    "tsc_mode",
    "timer_mode",
    "firmware",
    "altp2m",
    "gic_version",
    "tee",
    "device_model_version",
    "bios",
    "vga",
    "hdtype",
    "gfx_passthru",
    "vendor_device",
    "mmio_hole",
    "device_model_args",
    "device_model_args_pv",
    "device_model_args_hvm",
    "rdm",
}


def configs() -> list[str]:
    """Every text, once."""
    return list(dict.fromkeys(_texts()))


def fingerprint(text: str) -> str:
    """A short name of a config."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def flat(value: object, path: str = "") -> dict[str, Any]:
    """Objects within objects as one, with paths for names; lists stay whole."""
    if not isinstance(value, dict):
        return {path: value}
    if not value:
        return {f"{path}/": {}}
    found: dict[str, Any] = {}
    for name, item in value.items():
        found |= flat(item, f"{path}/{name}" if path else name)
    return found


def of_output(code: int, out: str, err: str) -> Said:
    """What xl said, from what it printed."""
    lines = [line for line in err.splitlines() if not line.startswith("Parsing config from ")]
    tree = json.loads(out) if code == 0 and out.startswith("{") else None
    return code, lines, None if tree is None else without_chance(flat(tree))


def without_chance(tree: dict[str, Any]) -> dict[str, Any]:
    """The same without what is drawn: a uuid that nobody asked for is the only one of version 4
    here, and random bytes."""
    uuid = tree.get("c_info/uuid", "")
    drawn = {"c_info/uuid"} if uuid[14:15] == "4" and uuid[:8] != "d8ac4a1e" else set()
    drawn |= {path for path in tree if path.endswith("ms_vm_genid")}
    return {path: value for path, value in tree.items() if path not in drawn}


def write(said: dict[str, Said]) -> None:
    """Keep what xl said of each text."""
    plain = said[PLAIN][2]
    assert plain is not None
    lines = []
    for text, (code, err, tree) in said.items():
        changes: dict[str, Any] | None = None
        if tree is not None and text == PLAIN:
            changes = tree
        elif tree is not None:
            changes = {k: v for k, v in tree.items() if plain.get(k, _NOTHING) != v}
            changes |= {k: None for k in plain if k not in tree}
        row = [fingerprint(text), code, err, changes]
        lines.append(json.dumps(row, ensure_ascii=True, separators=(",", ":")))
    RECORD.write_text("\n".join(lines) + "\n", encoding="ascii")


_NOTHING: Final = object()


def read() -> dict[str, Said]:
    """What is kept, by fingerprint."""
    found: dict[str, Said] = {}
    plain: dict[str, Any] = {}
    for line in RECORD.read_text(encoding="ascii").splitlines():
        name, code, err, changes = json.loads(line)
        tree = None
        if changes is not None:
            tree = {**plain, **changes} if plain else changes
            tree = {k: v for k, v in tree.items() if v is not None or k in _NULLS}
            plain = plain or tree
        found[name] = (code, err, tree)
    return found


_NULLS: Final = ("b_info/type.hvm/rdm/policy",)
"""What xl itself prints as null."""
