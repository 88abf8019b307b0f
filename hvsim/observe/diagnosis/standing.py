"""Who stands still or is no more, so that nothing which waits for him goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hvsim.observe.diagnosis.cause import Cause
from hvsim.observe.diagnosis.logs import guest_of, log_of
from hvsim.toolstack.host.parts import DAEMONS, HYPERVISOR, KERNEL

if TYPE_CHECKING:
    from hvsim.observe.diagnosis.host import Host
    from hvsim.observe.rows import SeenDomain
    from hvsim.wire.picture import TroubleRow

EVERYBODY: Final = {
    HYPERVISOR: "whoever asks the hypervisor for anything waits",
    "spawner": "no process of a domain can be made",
    "xenstored": "whoever asks the store waits; no device connects",
    "toolstack": "no domain is made or ended, no device attached; those that are connected go on",
    "kernel": "what dom0 itself serves waits",
    "xenconsoled": "no console is read; guests that write much to theirs will wait",
    "zmq-edge": "nobody of another machine is heard",
}
"""What waits for a process of dom0, whatever devices there are."""
DEAD: Final = ("crashed", "dead", "gone")
"""Troubles of somebody who has come to his end, and may be made again."""


def causes(host: Host) -> Iterator[Cause]:
    """All of them."""
    for trouble in host.facts.picture["troubles"]:
        yield _of(host, trouble)
    for row in host.facts.picture["domains"]:
        if "p" in row["state"] and row["name"]:
            yield Cause(
                culprit=str(row["name"]),
                what="paused",
                is_so="it is paused",
                text=f"{host.full_name(row['domid'])} is paused",
                cure=f"hvsim xl unpause {row['name']}",
                domid=row["domid"],
            )


def _of(host: Host, trouble: TroubleRow) -> Cause:
    who, what = trouble["who"], trouble["what"]
    domid = host.domid(who)
    text = trouble["text"].partition("; `hvsim fault resume")[0]
    hurt = EVERYBODY.get(who, "") if domid is None else ""
    cause = Cause(who, what, f"it {_after_name(text)}", text, "", domid, hurt=hurt)
    if what == "stalled":
        _stopped(host, cause)
    elif what in DEAD:
        _dead(host, cause, None if domid is None else host.domains[domid])
    elif what == "given-up":
        guest = guest_of(host, who)
        anew = f"hvsim xl destroy {guest}, and make it again"
        anew = "then hvsim down, and hvsim up" if who in DAEMONS else anew
        cause.cure = f"{log_of(host, who)} says why it dies; {anew}"
    elif what == "full":
        cause.cure = "make room on that disk: everything that writes goes on by itself"
    else:
        cause.cure = f"hvsim fault kill {who}: it is made again" if who in DAEMONS else "wait"
    return cause


def _after_name(text: str) -> str:
    """What a sentence says, without the name in front of it."""
    for verb in ("stands", "has", "is", "was", "ended"):
        head, found, tail = text.partition(f" {verb} ")
        if found and len(head.split()) < 6:
            return f"{verb} {tail}"
    return f"is in trouble: {text}"


def _stopped(host: Host, cause: Cause) -> None:
    who = cause.culprit
    cause.what, cause.is_so = "stopped", "it is stopped (SIGSTOP)"
    cause.text = f"{cause.text.partition(' stands still')[0]} is stopped (SIGSTOP)"
    cause.cure = f"hvsim fault resume {who}"
    name = who if cause.domid is None else "main"
    domid = 0 if cause.domid is None else cause.domid
    for record in host.records("fault", "fault.fired"):
        text = str(record["text"])
        if record["domid"] == domid and text.startswith((f"d{domid} {name}:", f"d{domid} {name} ")):
            if "stall" in text:
                cause.since = host.ago(record)
                cause.evidence.append(f"ledger {record['seq']}: {text}")
            rule = record.get("rule")
            if any(one["number"] == rule for one in host.facts.rules):
                cause.rule = rule
                cause.cure = f"hvsim fault remove {rule}"
            break


def _dead(host: Host, cause: Cause, row: SeenDomain | None) -> None:
    who = cause.culprit
    for record in host.records("domain.shutdown", "domain.dying"):
        if cause.domid is not None and record["domid"] == cause.domid:
            cause.since = host.ago(record)
            break
    if who == HYPERVISOR:
        cause.cure = "hvsim postmortem has what is known of it; hvsim up starts the lab anew"
    elif who == KERNEL:
        cause.cure = "wait: the lab ends with it; then hvsim up"
    elif who in DAEMONS:
        cause.cure = "wait: dom0's init starts it again"
    elif row is not None and row["restart"] == "always":
        cause.cure = f"wait: it is made again; hvsim logs {who} says why it died"
        cause.severity = "slow"
    elif cause.what == "gone":
        cause.cure = f"make {who} again (hvsim xl create), or detach what it served"
    else:
        cause.cure = f"hvsim xl destroy {who}, and make it again; hvsim logs {who} says why"
