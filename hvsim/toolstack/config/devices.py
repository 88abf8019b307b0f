"""The devices of xl.cfg(5) that this host has no backend for: what xl understands of them.

They stand in libxl's JSON and nowhere else, so each is read straight into the object that it is
there.  Texts and exit codes are xl's.
"""

import re
from collections.abc import Callable
from typing import Final

from hvsim.names.machine import parse_uuid
from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.libxl_json import Tree
from hvsim.toolstack.config.numbers import atoi, c_number

_BDF: Final = re.compile(
    r"(?:([0-9a-fA-F]{1,4}):)?([0-9a-fA-F]{1,2}):([0-9a-fA-F]{1,2})\.([0-7]|\*)"
    r"(?:@([0-9a-fA-F]{1,2}))?"
)
_SLOT_MAX: Final = 0x1F
_EVERY_FUNCTION: Final = 0xFFFFFFFF
_POLICIES: Final = ("strict", "relaxed")


def pairs(spec: str) -> list[tuple[str, str, str]]:
    """(word, key, value) of each ``key=value`` word of a device; blanks before one mean nothing."""
    words = [word.lstrip(" \t") for word in spec.split(",") if word]
    return [(word, *map(str.strip, word.partition("=")[::2])) for word in words]  # type: ignore[misc]


# ---- PCI -------------------------------------------------------------------------------------


def pci(spec: str, defaults: Tree, policy: str | None) -> Tree:
    """One PCI device (xl-pci-configuration(5)).  Raises: ConfigError."""
    failed = f"unable to parse PCI_SPEC_STRING `{spec}' for passthrough"
    device: Tree = {}
    flags = dict(defaults)
    named = False
    for number, word in enumerate(spec.split(",")):
        key, equals, value = word.partition("=")
        if not equals:
            if number == 0:
                key, value = "bdf", word
            elif number == 1 and "bus" in device:
                key, value = "vslot", word
            else:
                raise ConfigError(failed, code=6)
        if key == "bdf" and "name" not in device:
            _bdf(value, device, failed, positional=not equals)
            named = True
        elif key == "name" and "vfunc_mask" not in device:
            device["name"] = value
            named = True
        elif key == "vslot":
            if not re.fullmatch("[01]?[0-9a-fA-F]", value):
                raise ConfigError(failed, code=6)
            device["vdevfn"] = int(value, 16) << 3
        elif key in ("msitranslate", "power_mgmt", "permissive", "seize"):
            flags[key] = bool(atoi(value))
        elif key == "rdm_policy":
            if value not in _POLICIES:
                raise ConfigError(f"Unknown RDM policy: {value}{failed}", code=3)
            policy = value
        elif key in ("bdf", "name") or _BDF.fullmatch(key):
            raise ConfigError(failed, code=6)
        else:
            raise ConfigError(f"Unknown PCI_SPEC_STRING option: {key}{failed}", code=6)
    if not named:
        raise ConfigError(failed, code=6)
    device |= {key: True for key, value in flags.items() if value}
    if policy is not None:
        device["rdm_policy"] = policy
    return device


def _bdf(text: str, device: Tree, failed: str, *, positional: bool) -> None:
    match = _BDF.fullmatch(text)
    if (
        match is None
        or max(int(match[3], 16), int(match[5] or "0", 16)) > _SLOT_MAX
        or (match[5] and not positional)
    ):
        raise ConfigError(failed, code=6)
    domain, bus, slot, function, vslot = match.groups()
    device["vfunc_mask"] = _EVERY_FUNCTION if function == "*" else 1
    numbers = {
        "func": 0 if function == "*" else int(function),
        "dev": int(slot, 16),
        "bus": int(bus, 16),
        "domain": int(domain or "0", 16),
        "vdevfn": int(vslot or "0", 16) << 3,
    }
    device |= {key: value for key, value in numbers.items() if value}


def rdm(text: str) -> tuple[Tree, list[str]]:
    """``rdm=``: what it sets, and what xl says of the rest."""
    found: Tree = {}
    said = []
    for word in text.split(","):
        key, equals, value = word.partition("=")
        if key == "strategy" and equals:
            if value == "host":
                found = {"strategy": value, "policy": None}
            else:
                said.append(f"Unknown RDM strategy option: {value}")
        elif key == "policy" and equals:
            found = {}  # as in xl, which keeps neither of the two when both are said
            if value not in _POLICIES:
                said.append(f"Unknown RDM policy: {value}")
    return found, said


# ---- paravirtual devices ---------------------------------------------------------------------


def _simple(name: str, spec: str, keys: dict[str, str], quote: str = "`{}'") -> Tree:
    device: Tree = {}
    for word, key, value in pairs(spec):
        if key not in keys or "=" not in word:
            raise ConfigError(f"Unknown string {quote.format(key)} in {name} spec")
        device[keys[key]] = value
    return device


def p9(spec: str, number: int) -> Tree:
    """One shared file system.  Raises: ConfigError."""
    keys = {"backend": "backend_domname", "tag": "tag", "path": "path"}
    if "=" not in spec:
        raise ConfigError("9pfs spec missing required field!")
    device = _simple("9pfs", spec, {**keys, "security_model": "security_model"})
    if not {"tag", "path", "security_model"} <= device.keys():
        raise ConfigError("9pfs spec missing required field!")
    return device


def vtpm(spec: str, number: int) -> Tree:
    """One trusted platform module.  Raises: ConfigError."""
    device: Tree = {}
    for word, key, value in pairs(spec):
        if key == "backend":
            device["backend_domname"] = value
        elif key == "uuid":
            uuid = parse_uuid(value)
            if uuid is None:
                raise ConfigError(f"Failed to parse vtpm UUID: {value}")
            device["uuid"] = uuid
        elif "=" in word:
            raise ConfigError(f"Unknown string `{key}' in vtpm spec")
    if "backend_domname" not in device:
        raise ConfigError("vtpm spec missing required backend field!")
    return {"devid": number, **device}


def pvcalls(spec: str, number: int) -> Tree:
    """One pvcalls interface.  Raises: ConfigError."""
    device: Tree = {"devid": number}
    for word, key, value in pairs(spec):
        if key == "backend":
            device["backend_domname"] = value
        elif "=" in word:
            raise ConfigError(f"Unknown string `{key}' in pvcalls spec")
    return device


def vdispl(spec: str, number: int) -> Tree:
    """One display.  Raises: ConfigError."""
    device: Tree = {"devid": number}
    for word, key, value in pairs(spec):
        if key == "backend":
            device["backend_domname"] = value
        elif key == "be-alloc":
            device |= {"be_alloc": True} if atoi(value) else {}
        elif key == "connectors":
            device["connectors"] = [_connector(one) for one in value.split(";") if one]
        else:
            raise ConfigError(f'Unknown string "{word}" in vdispl spec')
    if not device.get("connectors"):
        raise ConfigError("At least one connector should be specified.")
    return device


def _connector(text: str) -> Tree:
    name, _, size = text.partition(":")
    wide, _, high = size.partition("x")
    return {"unique_id": name, "width": atoi(wide), "height": atoi(high)}


def channel(spec: str, number: int) -> tuple[Tree, list[str]]:
    """One channel, and what xl says of words it passes over.  Raises: ConfigError."""
    device: Tree = {"devid": number}
    said: list[str] = []
    connection = path = None
    for word, key, value in pairs(spec):
        if "=" not in word:
            raise ConfigError(f"failed to parse channel configuration: {spec}", warnings=said)
        if key == "backend":
            device["backend_domname"] = value
        elif key == "name" and "vfunc_mask" not in device:
            device["name"] = value
        elif key == "path":
            path = value
        elif key == "connection":
            if value not in ("pty", "socket"):
                raise ConfigError(f"unknown channel connection '{value}'", warnings=said)
            connection = value
        else:
            said.append(f"unknown channel parameter '{key}', ignoring")
    if connection is None:
        raise ConfigError("channel has unknown 'connection'", warnings=said)
    if connection == "socket" and path is None:
        raise ConfigError("channel connection 'socket' requires path=..", warnings=said)
    device[f"connection.{connection}"] = {} if connection == "pty" else {"path": path}
    return device, said


_VFB: Final[dict[str, tuple[str, str, str]]] = {
    "vnc": ("vnc", "enable", "flag"),
    "vnclisten": ("vnc", "listen", "text"),
    "vncpasswd": ("vnc", "passwd", "text"),
    "vncdisplay": ("vnc", "display", "number"),
    "vncunused": ("vnc", "findunused", "flag"),
    "keymap": ("", "keymap", "text"),
    "sdl": ("sdl", "enable", "flag"),
    "opengl": ("sdl", "opengl", "flag"),
    "display": ("sdl", "display", "text"),
    "xauthority": ("sdl", "xauthority", "text"),
}


def vfb(spec: str, number: int) -> Tree:
    """One framebuffer; what xl does not know in it, it passes over."""
    device: Tree = {"devid": number, "vnc": {}, "sdl": {}}
    for _, key, value in pairs(spec):
        if key in _VFB:
            part, name, kind = _VFB[key]
            read: str | int = value if kind == "text" else atoi(value)
            if kind == "flag":
                read = str(bool(read))
            if kind != "number" or read:
                (device[part] if part else device)[name] = read
    return device


_VKB: Final = {
    **{
        f"feature-{name}": "flag"
        for name in (
            "disable-keyboard",
            "disable-pointer",
            "abs-pointer",
            "raw-pointer",
            "multi-touch",
        )
    },
    **dict.fromkeys(
        ("width", "height", "multi-touch-width", "multi-touch-height", "multi-touch-num-contacts"),
        "number",
    ),
    "backend": "text",
    "backend-type": "text",
    "unique-id": "text",
}


def vkb(spec: str, number: int) -> Tree:
    """One keyboard and pointer.  Raises: ConfigError."""
    device: Tree = {"devid": number}
    for word, key, value in pairs(spec):
        kind = _VKB.get(key)
        name = "backend_domname" if key == "backend" else key.replace("-", "_")
        if kind is None or "=" not in word:
            raise ConfigError(f'Unknown string "{word}" in vkb spec')
        if key == "backend-type" and value not in ("qemu", "linux"):
            raise ConfigError(f'Unknown backend_type "{value}" in vkb spec')
        number_read = c_number(value)
        if kind == "text":
            device[name] = value
        elif number_read is not None and number_read[0]:
            device[name] = number_read[0] if kind == "number" else True
    if "backend_type" not in device:
        raise ConfigError("backend-type should be set in vkb spec")
    return device


# ---- USB -------------------------------------------------------------------------------------


def usbctrl(spec: str, number: int) -> Tree:
    """One USB controller.  Raises: ConfigError."""
    device: Tree = {"devid": number}
    for word, key, value in pairs(spec):
        if key == "type" and "=" in word:
            if value not in ("auto", "pv", "devicemodel", "qusb"):
                raise ConfigError(f"Invalid usb controller type '{value}'")
            device |= {"type": value} if value != "auto" else {}
        elif key in ("version", "ports") and "=" in word:
            device |= {key: atoi(value)} if atoi(value) else {}
        else:
            raise ConfigError(f"Unknown string `{word}' in usbctrl spec")
    return device


def usbdev(spec: str, number: int) -> Tree:
    """One USB device of the host.  Raises: ConfigError."""
    device: Tree = {}
    host: Tree = {}
    kind = False
    for word, key, value in pairs(spec):
        if key == "type" and "=" in word:
            if value != "hostdev":
                raise ConfigError("Invalid usb device type: (null)")
            kind = True
        elif key in ("hostbus", "hostaddr") and "=" in word:
            host[key] = atoi(value)
        elif key in ("controller", "port") and "=" in word:
            name = "ctrl" if key == "controller" else "port"
            device[name] = atoi(value)
        else:
            raise ConfigError(f"Unknown string `{word}' in usbdev spec")
    return {**device, **({"type.hostdev": host} if kind else {})}


Reader = Callable[[str, int], Tree]
READERS: Final[dict[str, tuple[str, Reader]]] = {
    "p9": ("p9s", p9),
    "vtpm": ("vtpms", vtpm),
    "vdispl": ("vdispls", vdispl),
    "pvcalls": ("pvcallsifs", pvcalls),
    "usbctrl": ("usbctrls", usbctrl),
    "usbdev": ("usbdevs", usbdev),
}
"""Key -> the member of libxl_domain_config, and who reads one entry."""
