"""What `--json` prints, verb by verb: typed rows, whose annotations the reference is made of.

For types and for the reference; no command imports this to print a row.
"""

from typing import Annotated, Any, Final, NotRequired, TypedDict

from hvsim.demo.rows import DemoRow
from hvsim.explore.rows import ExploreRow
from hvsim.faults.scenario.rows import RunRow
from hvsim.observe.diagnosis.rows import DoctorRow
from hvsim.observe.rows import Picture
from hvsim.toolstack.xl.rows import XlDiskRow, XlDomainRow, XlInterfaceRow, XlVcpuRow


class ProblemRow(TypedDict):
    """A fault of a lab file or a guest config, or a warning of one."""

    file: Annotated[str, "as it was named"]
    line: Annotated[int, "from 1; 0 when it has none"]
    place: Annotated[str, "the key, or the column"]
    text: Annotated[str, "what is wrong"]
    remedy: Annotated[str, "what helps"]


class ValidateRow(TypedDict):
    """`hvsim validate --json`"""

    valid: Annotated[bool, "whether `up` would take it"]
    name: NotRequired[Annotated[str, "name of the lab, if it is valid"]]
    problems: Annotated[list[ProblemRow], "why not"]
    warnings: Annotated[list[ProblemRow], "what is accepted and has no effect"]


class UpRow(TypedDict):
    """`hvsim up --json`"""

    name: Annotated[str, "name of the lab"]
    seconds: Annotated[float, "until it was ready"]
    run_dir: Annotated[str, "its run directory"]
    domids: Annotated[dict[str, int], "the domains, by name"]
    walls: Annotated[dict[str, list[str]], "walls that are missing, by domain"]


class DownRow(TypedDict):
    """`hvsim down --json`"""

    name: Annotated[str, "name of the lab"]
    leftovers: Annotated[list[str], "what could not be removed"]


class LabRow(TypedDict):
    """`hvsim labs --json`: one of a list"""

    name: Annotated[str, "name of the lab"]
    state: Annotated[str, "starting, running, stopping, failed, interrupted or dead"]
    pid: Annotated[int | None, "of the hypervisor, while it runs"]
    seconds: Annotated[float, "since `up`"]
    lab_file: Annotated[str | None, "its lab file"]
    run_dir: Annotated[str, "its run directory"]
    ended: Annotated[str | None, "of a dead one: how its hypervisor ended"]


class ConsoleRow(TypedDict):
    """`hvsim logs --json`: one of a list; of the one console that was named, with `crash`"""

    name: Annotated[str, "of the domain"]
    path: Annotated[str, "the log"]
    bytes: Annotated[int, "its size"]
    lines: Annotated[list[str], "its last lines, characters that a terminal obeys escaped"]
    crash: NotRequired[Annotated[str | None, "why the domain has crashed"]]


class EnvRow(TypedDict):
    """`hvsim env --json`"""

    HVSIM_LAB: Annotated[str, "name of the lab"]
    XENSTORED_PATH: Annotated[str, "the store's socket"]
    XENSTORED_RUNDIR: Annotated[str, "its directory"]
    HVSIM_LAB_DIR: Annotated[str, "the run directory"]


class PostmortemRow(TypedDict):
    """`hvsim postmortem --json`: one of a list, or the one that was named"""

    number: Annotated[int, "as `hvsim postmortem N` takes it"]
    lab: Annotated[str, "name of the lab"]
    lab_file: Annotated[str | None, "its lab file"]
    time: Annotated[float, "Unix seconds of its end"]
    why: Annotated[list[str], "why it failed"]
    path: Annotated[str, "the folder"]
    files: Annotated[list[str], "what is in it"]


class DeviceChangeRow(TypedDict):
    """`hvsim device attach --json`, `hvsim device detach --json`"""

    device: Annotated[str, "the device, as `hvsim ps` shows it"]
    devid: NotRequired[Annotated[int, "attached: its number"]]
    backend: NotRequired[Annotated[str, "attached: directory of the backend's half"]]
    said: NotRequired[Annotated[list[str], "detached: what was said of it on the way"]]


class FaultRow(TypedDict):
    """`hvsim fault kill|stall|resume --json`"""

    lab: Annotated[str, "name of the lab"]
    action: Annotated[str, "kill, stall or resume"]
    domain: Annotated[str, "as it was named"]
    domid: Annotated[int | None, "its number; null for the hypervisor"]
    pid: Annotated[int, "the process"]


class RuleAddedRow(TypedDict):
    """`hvsim fault add --json`"""

    number: Annotated[int, "of the rule, by which it is removed"]
    rule: Annotated[str, "its words"]
    trouble: Annotated[str, "why it could not be put in place; the command ends with 1 then"]


class RuleRow(TypedDict):
    """A rule that stands."""

    number: Annotated[int, "of the rule"]
    rule: Annotated[str, "its words"]
    fired: Annotated[int, "how often it has"]
    last: Annotated[str, "what its last firing did"]
    trouble: Annotated[str, "why it is not in place; empty when it is"]


class RulesRow(TypedDict):
    """`hvsim fault list --json`"""

    lab: Annotated[str, "name of the lab"]
    rules: Annotated[list[RuleRow], "those that stand, by number"]


class RulesRemovedRow(TypedDict):
    """`hvsim fault remove --json`"""

    removed: Annotated[list[int], "numbers of the rules that stand no more"]


class BreakableRow(TypedDict):
    """A fault that a rule may have."""

    word: Annotated[str, "as it is written: media=eio"]
    about: Annotated[str, "what a rule with it may be about"]
    text: Annotated[str, "what happens"]


class BreakablesRow(TypedDict):
    """`hvsim fault list --available --json`"""

    faults: Annotated[list[BreakableRow], "every fault there is"]


class LedgerRow(TypedDict):
    """`hvsim events --json`: one object a line; each kind has further fields (see the ledger)"""

    seq: Annotated[int, "number of the record"]
    time: Annotated[float, "Unix seconds"]
    mono: Annotated[int, "nanoseconds of the monotonic clock"]
    domid: Annotated[int, "whom it is about; -1: nobody"]
    kind: Annotated[str, "a word"]
    text: Annotated[str, "the record in words"]


class NodeRow(TypedDict):
    """A node of the store"""

    value: Annotated[str, "its value"]
    perms: NotRequired[Annotated[list[str], "with -p: its permissions"]]


class WrittenRow(TypedDict):
    """`hvsim xenstore write --json`"""

    written: Annotated[list[str], "the paths"]


class RemovedRow(TypedDict):
    """`hvsim xenstore rm --json`"""

    removed: Annotated[list[str], "the paths"]


class WatchRow(TypedDict):
    """`hvsim xenstore watch --json`: one object a line"""

    path: Annotated[str, "what has changed"]


class AnswerRow(TypedDict):
    """`hvsim xenstore control --json`"""

    answer: Annotated[str, "what the daemon said"]


class UpdateRow(TypedDict):
    """`hvsim xenstore live-update --json`"""

    life: Annotated[int, "programs that have served this store so far"]
    seconds: Annotated[float, "that it took"]


class BreachRow(TypedDict):
    """A rule of the handshake that a step broke"""

    rule: Annotated[str, "its name"]
    what: Annotated[str, "how it was broken"]
    text: Annotated[str, "what it says"]
    source: Annotated[str, "where it stands"]


class HalfRow(TypedDict):
    """A half of a device"""

    domid: Annotated[int, "whose it is; -1: nobody's"]
    path: Annotated[str, "its directory"]
    state: Annotated[int, "its XenbusState; 0: it is gone"]


class HandshakeRow(TypedDict):
    """A device that the store has seen"""

    device: Annotated[str, "DOMID/KIND/NUMBER of the frontend"]
    kind: Annotated[str, "vbd, vif, ..."]
    vdev: Annotated[str, "what people call it: xvda, eth0"]
    mode: Annotated[str, "record or strict"]
    names: Annotated[dict[str, str], "names of the domains, by number"]
    gone: Annotated[bool, "whether neither half exists any more"]
    frontend: Annotated[HalfRow, "the guest's half"]
    backend: Annotated[HalfRow, "the half of who serves it"]
    records: Annotated[int, "what was seen of it"]
    kept: Annotated[int, "how many of these are kept"]
    breaches: Annotated[int, "how often a rule was broken"]


class StepRow(TypedDict):
    """A step of a timeline; each kind has further fields"""

    seq: NotRequired[Annotated[int, "number of the record; none: the hypervisor's"]]
    mono: Annotated[float, "seconds of the monotonic clock"]
    half: Annotated[str, "frontend or backend"]
    owner: Annotated[int, "whose half it is"]
    kind: Annotated[str, "state, removed, refused, keys, error, early-read or hypervisor"]
    writer: NotRequired[Annotated[str, "who wrote it"]]
    domid: Annotated[int, "that domain"]
    breaches: NotRequired[Annotated[list[BreachRow], "rules that it broke"]]


class TimelinesRow(TypedDict):
    """`hvsim xenstore timeline --json`"""

    devices: Annotated[list[HandshakeRow], "all that were seen"]
    plight: Annotated[dict[str, str], "domains that cannot act, and why"]


class TimelineRow(HandshakeRow):
    """`hvsim xenstore timeline DEVICE --json`"""

    plight: Annotated[dict[str, str], "domains that cannot act, and why"]
    timeline: Annotated[list[StepRow], "its steps, in the order of time"]


JSON: Final[dict[tuple[str, ...], Any]] = {
    ("validate",): ValidateRow,
    ("up",): UpRow,
    ("down",): DownRow,
    ("labs",): list[LabRow],
    ("ps",): Picture,
    ("logs",): list[ConsoleRow],
    ("env",): EnvRow,
    ("events",): LedgerRow,
    ("device",): DeviceChangeRow,
    ("fault",): FaultRow | RuleAddedRow | RulesRow | RulesRemovedRow | BreakablesRow,
    ("doctor",): DoctorRow,
    ("run",): RunRow,
    ("explore",): ExploreRow,
    ("postmortem",): list[PostmortemRow],
    ("demo",): DemoRow,
    ("xenstore", "ls"): dict[str, NodeRow],
    ("xenstore", "read"): dict[str, str],
    ("xenstore", "write"): WrittenRow,
    ("xenstore", "list"): dict[str, list[str]],
    ("xenstore", "rm"): RemovedRow,
    ("xenstore", "watch"): WatchRow,
    ("xenstore", "control"): AnswerRow,
    ("xenstore", "live-update"): UpdateRow,
    ("xenstore", "timeline"): TimelinesRow | TimelineRow,
    ("xl", "list"): list[XlDomainRow],
    ("xl", "vcpu-list"): list[XlVcpuRow],
    ("xl", "block-list"): list[XlDiskRow],
    ("xl", "network-list"): list[XlInterfaceRow],
    ("xl", "info"): dict[str, str | int],
    ("xl", "dmesg"): list[str],
}
"""What each verb prints; every verb of ours with --json is here (tests/repository/test_docs.py)."""
