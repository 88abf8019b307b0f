"""Rules of faults in a running lab: added, listed, removed, at the hypervisor's door."""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hvsim.abi.errno import ENOENT
from hvsim.abi.hypercall import (
    HVSIM_DOMCTL_fault_add,
    HVSIM_DOMCTL_fault_remove,
    HYPERVISOR_domctl,
)
from hvsim.errors import HvsimError
from hvsim.faults import interfaces
from hvsim.faults.catalogue import FAMILIES
from hvsim.faults.grammar import Draft, RuleError
from hvsim.faults.named import resolved
from hvsim.faults.targets import (
    KINDS,
    SHOWN,
    DeviceTarget,
    DomainTarget,
    PairTarget,
    Place,
    StoreTarget,
    Target,
    TargetError,
    find,
)
from hvsim.lab.door import Door, DoorError
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.lockstep import OutOfTime
from hvsim.lab.our_store import needs_our_store
from hvsim.toolstack.host.parts import server_process
from hvsim.wire.fault import Rule
from hvsim.wire.typed import read, write
from hvsim.xs.waits import MACHINE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hvsim.lab.rundir import RunDir
    from hvsim.observe.rows import Picture
    from hvsim.wire.picture import DomainRow

PATIENCE: Final = 2.0
"""Seconds that a hypervisor has to answer, on a loaded machine as well: a rule that it adds when
nobody listens any more has no number, and is taken away by nobody."""
PLACED_TIMEOUT: Final = 1.0
"""Seconds, of the lab's time and of the machine's, that a process has to put a rule in place while
somebody waits for it."""
_LOOK: Final = 0.005
_DOMCTL: Final = HYPERVISOR_domctl


class NoRule(HvsimError):
    """There is none of that number, or none any more."""


@dataclass(frozen=True)
class Standing:
    """A rule in force.

    Attributes:
        since: when it was added, nanoseconds of the machine's clock.
        last: what its last firing did.
        placed: whether a process that is to put it in place has done so, or could not.
        trouble: why it could not be put in place.
    """

    rule: Rule
    since: int
    last: str
    placed: bool
    trouble: str


def made(draft: Draft, domains: Sequence[DomainRow], seed: int) -> Rule:
    """The rule that a draft is in the lab of those domains.

    Args:
        seed: of the lab.

    Raises: HvsimError.
    """
    target = find(draft.target, domains)
    family = draft.family
    kind = KINDS[type(target)]
    if kind not in family.targets:
        wanted = " or ".join(SHOWN[one] for one in family.targets)
        raise RuleError(f"{draft.target}: a fault of {family.name} is about {wanted}")
    settings = resolved(draft, domains)
    if isinstance(target, DeviceTarget):
        if family.types and target.type not in family.types:
            wanted = " or ".join(family.types)
            raise RuleError(f"{draft.target}: a fault of {family.name} is about a {wanted}")
        settings |= {"type": target.type, "devid": target.devid}
    elif family.types:
        settings["type"] = family.types[0]
    if family.acts == "link":
        place, peer, which = interfaces.meant(draft, target, domains)
        settings |= which
    else:
        place, peer = _ends(draft, target)
    ours = isinstance(target, PairTarget) and bool(family.seam)
    if ours and "from" in settings:
        raise RuleError(f"{draft.target}: from= is of a device; between domains there is ->")
    both = ours and isinstance(target, PairTarget) and not target.one_way
    if family.acts == "from" and isinstance(target, DeviceTarget):
        both = settings.get("from", "both") == "both"
    if isinstance(target, DeviceTarget) and family.by and (both or place is target.back):
        _refuse_qemu(draft, target)
    return Rule(
        text=draft.text,
        domain=place.handle,
        process=place.process,
        peer=None if peer is None else peer.handle,
        peer_process="" if peer is None else peer.process,
        both=both,
        by="" if ours else str(settings.get("own", family.by)),
        seam=family.seam,
        settings=settings,
        when=draft.when,
        seconds=draft.seconds,
        seed=_drawn(seed, draft.text) if draft.seed is None else draft.seed,
    )


def _drawn(seed: int, text: str) -> int:
    """The seed of a rule that names none: rules of other words have other dice, those of the same
    words the same ones, whatever rules there are beside it."""
    return zlib.crc32(text.encode(), zlib.crc32(str(seed).encode()))


def _refuse_qemu(draft: Draft, target: DeviceTarget) -> None:
    """Raises: RuleError when QEMU is the backend, which follows no rules."""
    if target.back.process != server_process("qdisk", target.frontend_domid):
        return
    way = {"from": "; from=front breaks what the frontend sends", "half": "; half=front is ours"}
    raise RuleError(
        f"{draft.target}: its backend is QEMU, whose half no rule breaks"
        f"{way.get(draft.family.acts, '')}"
    )


def _ends(draft: Draft, target: Target) -> tuple[Place, Place | None]:
    """Where the rule acts, and who is at the other end."""
    if isinstance(target, StoreTarget | DomainTarget):
        return target.place, None
    if isinstance(target, PairTarget):
        return target.first, target.second
    acts = draft.family.acts
    if acts == "half":
        acts = str(draft.settings.get("half", "back"))
    elif acts == "from":
        acts = str(draft.settings.get("from", "back"))
    return (target.front, target.back) if acts == "front" else (target.back, target.front)


def ready(run: RunDir, drafts: Sequence[Draft]) -> list[Draft]:
    """Those whose domains are there.  Raises: HvsimError."""
    domains = _seen(run)["domains"]
    found = []
    for draft in drafts:
        with contextlib.suppress(TargetError):
            made(draft, domains, 0)
            found.append(draft)
    return found


def _seen(run: RunDir) -> Picture:
    from hvsim.lab.control import Control
    from hvsim.observe.picture import picture

    with Control(run.control, alive=lambda: run.running, waits=run.waits()) as control:
        seen = picture(run, control)
    if seen["source"] == "/proc":  # the hypervisor does not answer: who it is about is not known
        raise HvsimError("; ".join(one["text"] for one in seen["troubles"]))
    return seen


@contextlib.contextmanager
def visit(run: RunDir) -> Iterator[Door]:
    """The hypervisor's door.  Raises: HvsimError, which says of one that is silent why it is."""
    _refuse_who_is_silent(run)  # nobody waits for one that stands still
    try:
        with Door(run.door, PATIENCE) as door:
            yield door
    except DoorError as silent:
        if not silent.errno:
            _refuse_who_is_silent(run)
        raise


def _refuse_who_is_silent(run: RunDir) -> None:
    still = Inquiry(run).hypervisor()
    if still is not None:
        raise HvsimError(still.text)


def enter(run: RunDir, drafts: Sequence[Draft]) -> list[int]:
    """Put rules in force in the lab at *run*; their numbers.

    None stands when one of them cannot.  Raises: HvsimError.
    """
    if not drafts:
        return []
    for draft in drafts:
        if draft.family.acts == "store":
            needs_our_store(run, draft.text)
    seen = _seen(run)
    seed = run.record.get("seed")
    dice = seed if isinstance(seed, int) else 0
    try:
        rules = [made(draft, seen["domains"], dice) for draft in drafts]
    except TargetError as nobody:
        raise TargetError(f"{nobody}{_more(run, nobody.name, seen)}", nobody.name) from None
    numbers: list[int] = []
    with visit(run) as door:
        try:
            for rule in rules:
                numbers.append(add(door, rule))
        except HvsimError:
            for number in numbers:
                with contextlib.suppress(NoRule):  # its time has come meanwhile
                    remove(door, number)
            raise
    return numbers


def _more(run: RunDir, name: str, seen: Picture) -> str:
    """What is known of a domain that is not there."""
    if seen["unknown"]:
        return f"; not everything could be told: {seen['unknown']}"
    began = run.record.get("domains")
    if isinstance(began, dict) and name in began:
        return f" ({name} has ended: `hvsim logs {name}` says how)"
    return ""


def add(door: Door, rule: Rule) -> int:
    """Put it in force; its number.  Raises: HvsimError."""
    try:
        return int(door.call(_DOMCTL, HVSIM_DOMCTL_fault_add, write(rule)))
    except DoorError as refusal:
        if refusal.errno:
            raise RuleError(f"{rule.text}: {refusal}") from None
        raise


def trouble(run: RunDir, number: int) -> str:
    """Why a rule that was just entered cannot be put in place; "" when it is, has gone, or who is
    to do it has not said anything within PLACED_TIMEOUT: it may stand still, or come later.

    Raises: HvsimError when the hypervisor is silent.
    """
    with contextlib.closing(run.waits(PLACED_TIMEOUT) or MACHINE) as waits, visit(run) as door:
        deadline = waits.now() + PLACED_TIMEOUT
        while True:
            rule = next((one for one in standing(door) if one.rule.number == number), None)
            if rule is None or rule.placed or waits.now() > deadline:
                return "" if rule is None else rule.trouble
            try:
                waits.pause(_LOOK)
            except OutOfTime:  # a lab in lockstep that is always busy
                return rule.trouble


def remove(door: Door, number: int) -> None:
    """Take it away.  Raises: NoRule; DoorError."""
    try:
        door.call(_DOMCTL, HVSIM_DOMCTL_fault_remove, number)
    except DoorError as refusal:
        if refusal.errno == ENOENT:
            raise NoRule(f"there is no rule {number}; `hvsim fault list` shows them") from None
        raise


def standing(door: Door) -> list[Standing]:
    """All in force, by number.  Raises: DoorError."""
    return [
        Standing(read(Rule, row["rule"]), row["since"], row["last"], row["placed"], row["trouble"])
        for row in door.rules()
    ]


def available() -> list[tuple[str, str, str]]:
    """Every fault there is: (its word, what it is about, what it does)."""
    return [
        (_shown(word.key, word.form), _about(family.targets, family.types), word.text)
        for family in FAMILIES
        for word in family.faults
    ]


def _shown(key: str, form: str) -> str:
    from hvsim.faults.forms import SHOWN as FORMS_SHOWN

    return key if not form else f"{key}={FORMS_SHOWN.get(form, form)}"


def _about(targets: tuple[str, ...], types: tuple[str, ...]) -> str:
    names = [
        f"{kind} {one}" if kind == "device" and types else kind
        for kind in targets
        for one in (types or ("",))[:1]
    ]
    return ", ".join(names)
