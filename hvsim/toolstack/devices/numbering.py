"""How the devices of a kind are numbered in a config, and that no two have one number.  Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from hvsim.toolstack.config import DomainConfig
from hvsim.toolstack.host.errors import libxl
from hvsim.toolstack.host.refusal import Refusal

ADD_ASYNC: Final = "libxl_device.c:1931:libxl__device_add_async"
"""Where libxl adds devices that are no disks."""


class Numbering(NamedTuple):
    """The numbers of one kind of devices.

    Attributes:
        label: what a person calls it in a config ("disk", "vif").
        key: the word of a config that gives it a number ("vdev=").
        added_in: where libxl says that a device is there already.
        of: name and number of each device in a config; None for a name that means no number.
    """

    label: str
    key: str
    added_in: str
    of: Callable[[DomainConfig], Sequence[tuple[str, int | None]]]


def already(added_in: str) -> str:
    """libxl's words for a device that is there, "{domid}" for its domain."""
    return libxl(f"{added_in}: Domain {{domid}}:device already exists in xenstore")


def twice(config: DomainConfig, kinds: Iterable[Numbering]) -> Iterator[Refusal]:
    """Two devices of one kind with one number in a config."""
    for kind in kinds:
        seen: set[int] = set()
        for name, number in kind.of(config):
            if number is None or number not in seen:
                seen |= set() if number is None else {number}
                continue
            yield Refusal(
                f"{kind.label} {name}",
                f"another {kind.label} of this guest has this number",
                f"give each a {kind.key} of its own",
                (already(kind.added_in),),
            )
