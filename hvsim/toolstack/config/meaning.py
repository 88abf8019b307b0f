"""One reading of one config: what has been understood of it so far.

The keys are read by ``guest.py``, ``device_keys.py``, ``affinity.py``, ``passing.py`` and
``hvm.py``, in the order of ``reading.py``; all of them write here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from hvsim.toolstack.config.disk import DiskConfig
from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.libxl_json import Tree, put
from hvsim.toolstack.config.settings import Settings
from hvsim.toolstack.config.vif import ParsedVif


@dataclass(frozen=True, slots=True)
class Host:
    """What of the host a config's meaning depends on.

    Attributes:
        cpus: how many there are, all of them in one NUMA node.
        draw: that many random bytes; zeros where nothing is made of a config.
    """

    cpus: int = 4
    draw: Callable[[int], bytes] = bytes


class Meaning:
    """One reading of one config.

    Attributes:
        tree: libxl_domain_config.
        kind: "pv", "pvh" or "hvm".
        disks, vifs: as parsed.
        program: ours: what runs in place of a kernel.
        actions: on_* -> the config's word.
    """

    def __init__(
        self, settings: Settings, host: Host, program: str | None, fallback: str | None
    ) -> None:
        self.settings = settings
        self.host = host
        self.program = program or settings.text("program", quiet=True) or fallback
        self.kind = "pv"
        self.tree: Tree = {}
        self.disks: list[DiskConfig] = []
        self.vifs: list[ParsedVif] = []
        self.actions: dict[str, str] = {}
        self.pci_flags: Tree = {}

    def fail(self, *lines: str) -> NoReturn:
        """Refuse."""
        raise ConfigError(*lines)

    def put(self, path: str, value: object) -> None:
        """Set a member of the tree."""
        put(self.tree, path, value)
