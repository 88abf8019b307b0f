"""``cpus``, ``cpus_soft`` and ``vnuma``: which CPUs and nodes a guest would like."""

from collections.abc import Callable
from typing import Final

from hvsim.names.number import from_digits
from hvsim.toolstack.config.cpulist import parse_cpus
from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.libxl_json import Tree
from hvsim.toolstack.config.meaning import Meaning

MAX_VCPUS: Final = 1 << 16
"""More are not counted out one by one; libxl would allocate a bit for each."""


def cpus(meaning: Meaning, key: str, kind: str) -> None:
    """``cpus`` or ``cpus_soft``.  Raises: ConfigError."""
    settings = meaning.settings
    vcpus = meaning.tree["b_info"].get("max_vcpus", 0)
    rows = settings.rows(key, quiet=True)
    if rows is not None:
        lists = settings.texts(key)[:vcpus]
    else:
        text = settings.text(key, quiet=True)
        if text is None:
            return
        parse_cpus(text, meaning.host.cpus)  # a mistake is told also when nobody uses it
        lists = [text] * vcpus
    maps = []
    for text in lists:
        found = parse_cpus(text, meaning.host.cpus)
        if not found:
            raise ConfigError(f"vcpu {kind} affinity map is empty")
        maps.append(sorted(found))
    if maps:
        meaning.put(f"b_info/vcpu_{kind}_affinity", maps)
    if rows is not None or kind == "soft":
        meaning.put("b_info/numa_placement", "False")


def vnuma(meaning: Meaning) -> None:
    """``vnuma``.  Raises: ConfigError."""
    settings = meaning.settings
    rows = settings.rows("vnuma", quiet=True)
    if not rows:
        return
    b_info = meaning.tree["b_info"]
    maxvcpus = b_info.get("max_vcpus", 0)
    nodes: list[Tree] = []
    covered: set[int] = set()
    for number, row in enumerate(rows):
        if not isinstance(row, list):
            settings.warn(f"{settings.place('vnuma')}:{number}: warning: value is not a list")
            raise ConfigError("xl: cannot get vnode config option list")
        node: Tree = {"distances": [0] * len(rows)}
        for word in row:
            if isinstance(word, list):
                continue
            name, equals, value = (part.strip() for part in word.partition("="))
            if not equals:
                raise ConfigError(f'xl: failed to split "{word}" into pair')
            if name == "size":
                node["memkb"] = _number(value) * 1024
            elif name == "pnode":
                if _number(value) > 0:
                    raise ConfigError(f"xl: invalid pnode number: {_number(value)}")
            elif name == "vcpus":
                node["vcpus"] = sorted(_range(value))
                covered |= set(node["vcpus"])
            elif name == "vdistances":
                given = [_number(one) for one in value.split(",")]
                node["distances"] = (given + node["distances"])[: len(rows)]
        nodes.append(node)
    bounded = settings.number("maxvcpus", quiet=True) is not None
    if not bounded and max(covered, default=-1) >= meaning.host.cpus:
        raise ConfigError(
            "xl: vnuma specifies more vcpus than pcpus, use maxvcpus= to override this check."
        )
    if bounded and max(covered, default=-1) + 1 != (maxvcpus):
        raise ConfigError("xl: vnuma vcpus and maxvcpus= mismatch")
    total = sum(node.get("memkb", 0) for node in nodes)
    if settings.number("maxmem", quiet=True) is not None and total != b_info.get("max_memkb"):
        raise ConfigError("xl: maxmem and vnuma memory size mismatch")
    meaning.put("b_info/max_memkb", total)
    meaning.put("b_info/vnuma_nodes", nodes)
    if covered:
        meaning.put("b_info/numa_placement", "False")


def _number(text: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise ConfigError(f'xl: failed to convert "{text}" to number')
    return from_digits(text.strip())


def _range(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low, high = _number(first), _number(last if dash else first)
        if high > MAX_VCPUS:
            raise ConfigError("xl: vnuma vcpus and maxvcpus= mismatch")
        found |= set(range(low, high + 1))
    return found


SPECIALS: Final[dict[str, Callable[[Meaning], None]]] = {
    "vnuma": vnuma,
    "cpus": lambda meaning: cpus(meaning, "cpus", "hard"),
    "cpus_soft": lambda meaning: cpus(meaning, "cpus_soft", "soft"),
}
