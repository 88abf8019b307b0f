"""What of the host a config hands to a guest or sets for it: PCI, ports, limits, time, CPUID."""

import re
from collections.abc import Callable
from typing import Final

from hvsim.names.number import from_digits
from hvsim.toolstack.config import devices
from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.meaning import Meaning
from hvsim.toolstack.config.numbers import c_number

_TSC: Final = ("default", "always_emulate", "native", "native_paravirt")
_TIMER: Final = (
    "delay_for_missed_ticks",
    "no_delay_for_missed_ticks",
    "no_missed_ticks_pending",
    "one_missed_tick_pending",
)
_ALTP2M: Final = ("disabled", "mixed", "external", "limited")
_PASSTHROUGH: Final = ("default", "disabled", "enabled", "sync_pt", "share_pt")
_PORTS: Final = re.compile(r"([0-9a-fA-F]+)(?:-([0-9a-fA-F]+))?")
_IOMEM: Final = re.compile(r"([0-9a-fA-F]+),([0-9a-fA-F]+)(?:@([0-9a-fA-F]+))?")


def pci_flag(meaning: Meaning, key: str) -> None:
    """A default of all PCI devices."""
    number = meaning.settings.number(key)
    if number:
        meaning.pci_flags[key.removeprefix("pci_")] = True


def rdm(meaning: Meaning) -> None:
    """``rdm``, which only HVM guests have."""
    text = meaning.settings.text("rdm")
    if text is None:
        return
    found, said = devices.rdm(text)
    meaning.settings.warn(*said)
    if meaning.kind == "hvm":
        for name, value in found.items():
            meaning.put(f"b_info/type.hvm/rdm/{name}", value)


def pci(meaning: Meaning) -> None:
    """``pci``.  Raises: ConfigError."""
    policy = "strict" if meaning.kind != "hvm" else None
    found = [devices.pci(spec, meaning.pci_flags, policy) for spec in meaning.settings.texts("pci")]
    if found:
        meaning.put("pcidevs", found)
        if meaning.kind == "pv" and "e820_host" not in meaning.tree["b_info"]["type.pv"]:
            meaning.put("b_info/type.pv/e820_host", "True")


def dtdev(meaning: Meaning) -> None:
    """``dtdev``."""
    found = [{"path": path} for path in meaning.settings.texts("dtdev")]
    if found:
        meaning.put("dtdevs", found)


def passthrough(meaning: Meaning) -> None:
    """``passthrough``.  Raises: ConfigError."""
    word = meaning.settings.text("passthrough")
    if word is None or word == "default":
        return
    if word not in _PASSTHROUGH:
        raise ConfigError(f"ERROR: unknown passthrough option '{word}'")
    meaning.put("c_info/passthrough", word)


def tsc_mode(meaning: Meaning) -> None:
    """``tsc_mode``.  Raises: ConfigError."""
    word = _mode(meaning, "tsc_mode", _TSC, talkative=True)
    if word and word != "default":
        meaning.put("b_info/tsc_mode", word)


def timer_mode(meaning: Meaning) -> None:
    """``timer_mode``.  Raises: ConfigError."""
    settings = meaning.settings
    if settings.text("timer_mode") is None:
        return
    if meaning.kind == "pv":
        raise ConfigError('ERROR: "timer_mode" option is not supported for PV guests.', code=3)
    word = _mode(meaning, "timer_mode", _TIMER, also=("unknown",))
    if word and word != "unknown":
        meaning.put("b_info/timer_mode", word)


def _mode(
    meaning: Meaning,
    key: str,
    known: tuple[str, ...],
    *,
    also: tuple[str, ...] = (),
    talkative: bool = False,
) -> str | None:
    """A mode by its name, or by its number, of which xl warns."""
    text = meaning.settings.text(key, quiet=key == "timer_mode")
    if text is None:
        return None
    number = c_number(text)
    if number is not None and number[1] == len(text):
        value = number[0]
        word = known[value] if 0 <= value < len(known) else None
        example = f'e.g. {key}="{word}"' if word else ""
        meaning.settings.warn(
            f'WARNING: specifying "{key}" as an integer is deprecated. Please use the named '
            f"parameter variant. {example}"
        )
        if word is None:
            raise ConfigError(f'ERROR: invalid value {value} for "{key}"')
        return word
    if talkative:
        meaning.settings.warn(f'got a tsc mode string: "{text}"')
    if text not in (*known, *also):
        raise ConfigError(f'ERROR: invalid value "{text}" for "{key}"')
    return text


def altp2m(meaning: Meaning) -> None:
    """``altp2m``.  Raises: ConfigError."""
    text = meaning.settings.text("altp2m")
    if text is None:
        return
    number = c_number(text)
    if number is not None and number[1] == len(text):
        value = number[0]
        if not 0 <= value < len(_ALTP2M):
            raise ConfigError(f'ERROR: invalid value {value} for "altp2m"')
        text = _ALTP2M[value]
    if text not in _ALTP2M:
        raise ConfigError(f'ERROR: invalid value "{text}" for "altp2m"')
    if text != "disabled":
        meaning.put("b_info/altp2m", text)


def vmtrace_buf_kb(meaning: Meaning) -> None:
    """``vmtrace_buf_kb``."""
    number = meaning.settings.number("vmtrace_buf_kb", quiet=True)
    if number:
        meaning.put("b_info/vmtrace_buf_kb", number)


def limit(meaning: Meaning, key: str) -> None:
    """A limit of grants.  Raises: ConfigError, without a word, as xl does."""
    if key not in meaning.settings.values:
        return
    number = meaning.settings.number(key, quiet=True)
    if number is None or not 0 <= number < 0x7FFFFFFF:
        place = meaning.settings.place(key)
        raise ConfigError(unsaid=f"{place}: {key} is no number from 0 to 2147483646")
    meaning.put(f"b_info/{key}", number)


def ranges(meaning: Meaning, key: str) -> None:
    """``ioports``, ``irqs`` or ``iomem``.  Raises: ConfigError."""
    rows = meaning.settings.rows(key)
    if rows is None:
        return
    one = key.removesuffix("s")
    found: list[object] = []
    for number, row in enumerate(rows):
        if isinstance(row, list):
            raise ConfigError(f"xl: Unable to get element #{number} in {one} list")
        bad = ConfigError(f"xl: Invalid argument parsing {one}: {row}")
        if key == "irqs":
            if not (row.isascii() and row.isdigit()):
                raise bad
            found.append(from_digits(row) & 0xFFFFFFFF)
            continue
        match = (_PORTS if key == "ioports" else _IOMEM).fullmatch(row)
        if match is None:
            raise bad
        first = int(match[1], 16)
        if key == "ioports":
            last = int(match[2], 16) if match[2] else first
            found.append({"first": first, "number": (last - first + 1) & 0xFFFFFFFF})
        else:
            place = {"gfn": int(match[3], 16)} if match[3] else {}
            found.append({"start": first, "number": int(match[2], 16), **place})
    if found:
        meaning.put(f"b_info/{key}", found)


def cpuid(meaning: Meaning) -> None:
    """``cpuid``: its bits are not read, since nothing looks at them (the reason stands in
    tests/config)."""
    text = meaning.settings.text("cpuid", quiet=True)
    if text is not None and text.split(",")[0] != "host":
        meaning.settings.warn(
            f'while parsing CPUID string: "{text}":', '  error: first word must be "host"'
        )


def vif2(meaning: Meaning) -> None:
    """``vif2``, which no xl has any more."""
    if meaning.settings.rows("vif2") is not None:
        meaning.settings.warn("WARNING: vif2: netchannel2 is deprecated and not supported by xl")


def vsnd(meaning: Meaning) -> None:
    """``vsnd``: only whether it has the shape of a list of cards."""
    for number, row in enumerate(meaning.settings.rows("vsnd") or []):
        if not isinstance(row, list):
            place = meaning.settings.place("vsnd")
            meaning.settings.warn(f"{place}:{number}: warning: value is not a list")
            raise ConfigError("Failed to get vsnd card list: Invalid argument")


def vuart(meaning: Meaning) -> None:
    """``vuart``.  Raises: ConfigError."""
    word = meaning.settings.text("vuart")
    if word is None or word == "unknown":
        return
    if word != "sbsa_uart":
        raise ConfigError(f'ERROR: invalid value "{word}" for "vuart"')
    meaning.put("b_info/arch_arm/vuart", word)


def arm_choice(meaning: Meaning, key: str) -> None:
    """``gic_version`` or ``tee``.  Raises: ConfigError."""
    word = meaning.settings.text(key, quiet=True)
    known = ("default", "v2", "v3") if key == "gic_version" else ("none", "optee")
    if word is None or word == known[0]:
        return
    if word not in known:
        raise ConfigError(f'Unknown {key} "{word}" specified', code=3)
    meaning.put("b_info/arch_arm/gic_version" if key == "gic_version" else "b_info/tee", word)


def msr_relaxed(meaning: Meaning) -> None:
    """``msr_relaxed``."""
    flag = meaning.settings.flag("msr_relaxed")
    if flag is None:
        return
    meaning.settings.warn(
        "WARNING: msr_relaxed will be removed in future versions.",
        "If it fixes an issue you are having please report to xen-devel@lists.xenproject.org.",
    )
    meaning.put("b_info/arch_x86/msr_relaxed", str(flag))


SPECIALS: Final[dict[str, Callable[[Meaning], None]]] = {
    **{
        key: lambda meaning, key=key: pci_flag(meaning, key)  # type: ignore[misc]
        for key in ("pci_msitranslate", "pci_power_mgmt", "pci_permissive", "pci_seize")
    },
    "rdm": rdm,
    "pci": pci,
    "dtdev": dtdev,
    "passthrough": passthrough,
    "tsc_mode": tsc_mode,
    "timer_mode": timer_mode,
    "altp2m": altp2m,
    "vmtrace_buf_kb": vmtrace_buf_kb,
    **{
        key: lambda meaning, key=key: limit(meaning, key)  # type: ignore[misc]
        for key in ("max_grant_frames", "max_maptrack_frames", "max_grant_version")
    },
    **{
        key: lambda meaning, key=key: ranges(meaning, key)  # type: ignore[misc]
        for key in ("ioports", "irqs", "iomem")
    },
    "cpuid": cpuid,
    "vif2": vif2,
    "vsnd": vsnd,
    "vuart": vuart,
    **{
        key: lambda meaning, key=key: arm_choice(meaning, key)  # type: ignore[misc]
        for key in ("gic_version", "tee")
    },
    "msr_relaxed": msr_relaxed,
}
