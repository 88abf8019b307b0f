"""The domains and devices that the words of a rule name, looked up once.

What comes out is plain data and holds handles, so that the rule is about the domain in each of its
lives.  A device need not be there yet: whoever wants to see its handshake stand still says so
before it is attached.  Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from hvsim.faults.targets import TargetError, names_of, row_of
from hvsim.names import vdev

if TYPE_CHECKING:
    from hvsim.faults.grammar import Draft
    from hvsim.wire.picture import DomainRow

_NUMBERED: Final = re.compile(r"([a-z][a-z0-9-]*?)/?([0-9]{1,9})")


def resolved(draft: Draft, domains: Sequence[DomainRow]) -> dict[str, Any]:
    """The settings of a draft, where *domains* are those of the lab.  Raises: TargetError.

    A domain becomes ``{name, handle}``, a device ``{name, handle, type, devid}`` (the handle is its
    frontend's), a device in a state has ``state`` as well.
    """
    family = draft.family
    forms = {word.key: word.form for word in (*family.faults, *family.settings)}
    return {
        key: _looked_up(forms.get(key, ""), value, domains) for key, value in draft.settings.items()
    }


def _looked_up(form: str, value: Any, domains: Sequence[DomainRow]) -> Any:
    if form == "domain":
        row = row_of(value, domains)
        return {"name": str(row["name"] or row["domid"]), "handle": row["uuid"]}
    if form == "device":
        return _device(value, domains)
    if form == "device@state":
        name, _, state = value.rpartition("@")
        return {**_device(name, domains), "state": int(state)}
    return value


def _device(text: str, domains: Sequence[DomainRow]) -> dict[str, Any]:
    name, _, wanted = text.partition("/")
    row = row_of(name, domains)
    found = [device for device in row["devices"] if wanted in names_of(device)]
    if found:
        kind, number = found[0]["class"], found[0]["devid"]
    else:
        kind, number = _by_its_name(text, wanted)
    return {"name": text, "handle": row["uuid"], "type": kind, "devid": number}


def _by_its_name(text: str, wanted: str) -> tuple[str, int]:
    """Type and number of a device that is not there.  Raises: TargetError."""
    disk = vdev.parse(wanted)
    if disk is not None and not wanted.isdigit():
        return "vbd", disk
    numbered = _NUMBERED.fullmatch(wanted)
    if numbered is None:
        raise TargetError(f"{text}: there is no such device, and no name says of what type it is")
    kind, number = numbered.groups()
    return "vif" if kind == "eth" else kind, int(number)
