"""The handshake of a device as a timeline of two columns: what the guest's half did, what the
backend's half did, in the order of time; and who waits for whom at the end.  Pure.

It is made of the store's view (the records of ``CONTROL handshake``) and of the hypervisor's (its
ledger: event channels that were bound, pages that were shared), which have one clock.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hvsim.observe.timeline_words import name_of, removed, step, thing, waiting
from hvsim.printable import printable

Record = Mapping[str, Any]

WIDTH = 99
"""Characters of a line, where nobody says how many there are."""
_NARROWEST = 24
"""Characters that one half has at least."""
_TIME = 10
_WHO = {
    "XL": "XL, the toolstack",
    "SCRIPT": "SCRIPT, hotplug",
    "KERN0": "KERN0, dom0's kernel",
    "CLI": "CLI, `hvsim xenstore`",
}
_TELLING = frozenset(
    (
        "ring-ref",
        "tx-ring-ref",
        "rx-ring-ref",
        "ring-page-order",
        "event-channel",
        "event-channel-tx",
        "event-channel-rx",
        "multi-queue-num-queues",
        "physical-device",
        "hotplug-status",
        "hotplug-error",
        "online",
        "sectors",
        "sector-size",
        "mode",
        "mac",
    )
)
"""Keys whose values are shown; others are named, or counted."""
_NAMED = 3
"""Other keys that are named before the rest is counted."""


def hypervisor_view(records: Sequence[Record], ledger: Iterable[Record]) -> list[dict[str, Any]]:
    """What the ledger has about a device: its ring, and the ends of the domains of its halves, as
    {mono, half, kind, text, owner, domid}.

    A bound event channel and a shared page belong to the device when the frontend has published
    just that number in `records`, and the two domains are those of its halves.
    """
    channels: set[tuple[int, int]] = set()
    rings: set[tuple[int, int]] = set()
    backends: set[int] = set()
    for record in records:
        if record["half"] == "backend":
            backends.add(record["owner"])
        for key, value in record.get("keys", {}).items():
            leaf = key.rpartition("/")[2]
            if record["half"] == "frontend" and value.isdigit():
                if leaf.startswith("event-channel"):
                    channels.add((record["owner"], int(value)))
                elif "ring-ref" in leaf:
                    rings.add((record["owner"], int(value)))
    guest = next((record["owner"] for record in records if record["half"] == "frontend"), None)
    found = []
    for line in ledger:
        domid = line.get("domid")
        text = ""
        if line["kind"] == "domain.stopping" and (domid in backends or domid == guest):
            text = f"domain {domid} stops: {line['text'].partition(': ')[2]}"
        if line["kind"] == "event.port" and domid in backends:
            if (line.get("remote"), line.get("remote_port")) in channels:
                text = (
                    f"binds its port {line['port']} to event channel {line['remote_port']} "
                    f"of domain {line['remote']}"
                )
        elif (
            line["kind"] == "extent.shared"
            and line.get("peer") in backends
            and (domid, line.get("ref")) in rings
        ):
            domid = line["peer"]
            text = f"maps the ring: grant {line['ref']} of domain {line['domid']}"
        if text:
            found.append(
                {
                    "mono": line["mono"] / 1e9,
                    "kind": "hypervisor",
                    "text": text,
                    "half": "frontend" if domid == guest else "backend",
                    "owner": domid,
                    "domid": domid,
                }
            )
    return found


def title(device: Record) -> str:
    """ "db-primary/xvda": what people call the device."""
    return f"{_domain(device, 'frontend', False)}/{device['vdev']}"


def _domain(device: Record, half: str, number: bool = True) -> str:
    domid = device[half]["domid"]
    name = device["names"].get(str(domid))
    if name is None:
        return f"domain {domid}" if domid >= 0 else "nobody"
    return f"{name} (domain {domid})" if number else str(name)


def brief(devices: Sequence[Record], plight: Mapping[int, str]) -> list[str]:
    """A line or two for each device."""
    lines = []
    for device in devices:
        states = " | ".join(
            f"{half} {name_of(device[half]['state'])}" for half in ("frontend", "backend")
        )
        lines.append(f"{title(device):<24} {states}")
        if device["breaches"]:
            lines.append(
                f"    !! broke the rules {device['breaches']} times: "
                f"`hvsim xenstore timeline {title(device)}`"
            )
        front, back = (_domain(device, half, False) for half in ("frontend", "backend"))
        if not device["gone"]:
            lines.append("    " + waiting(device, front, back, {}, plight)[0])
    return lines


def render(
    device: Record, records: Sequence[Record], plight: Mapping[int, str], width: int = WIDTH
) -> list[str]:
    """The whole timeline of one device, for a person, line by line of at most `width` characters.

    `device` is a row of ``CONTROL handshake`` with `vdev` added; `records` are its records and
    those of :func:`hypervisor_view`; `plight` says which domains cannot act, and why.
    """
    column = max(_NARROWEST, (min(width, WIDTH) - _TIME - 3) // 2)
    ordered = sorted(records, key=lambda record: record["mono"])
    start = ordered[0]["mono"] if ordered else 0.0
    lines = [
        f"{title(device)}: a {thing(device['kind'])} of {_domain(device, 'frontend')}, "
        f"served by {_domain(device, 'backend')}",
        f"  frontend  {device['frontend']['path']}",
        f"  backend   {device['backend']['path'] or '-'}",
        "",
        f"{'ms':>{_TIME - 2}}  {'FRONTEND (the guest)':<{column}}   BACKEND (who serves it)",
        f"{'':->{_TIME - 2}}  {'':->{column}}   {'':->{column}}",
    ]
    lost = device["records"] - device["kept"]
    if lost:
        lines.append(f"{'':{_TIME}}({lost} older records are no longer kept)")
    if not ordered:
        lines.append(f"{'':{_TIME}}(nothing has changed since the store was last started)")
    states = {"frontend": 0, "backend": 0}
    keys: dict[str, str] = {}
    server = -1
    for record in ordered:
        if record["half"] == "backend" and record["owner"] != server:
            if server >= 0:
                name = device["names"].get(str(record["owner"]), "")
                lines.append(
                    f"{'':{_TIME + column + 3}}"
                    + (f"--- from here on: {name} (domain {record['owner']}) ").ljust(column, "-")
                )
            server = record["owner"]
        lines += _entry(record, device, states, (record["mono"] - start) * 1000.0, column)
        if record["half"] == "backend":
            keys |= record.get("keys", {})
            if record["kind"] == "removed":
                keys.clear()
            if record["kind"] == "error":
                keys["error"] = record["text"]
        if record["kind"] in ("state", "removed"):
            states[record["half"]] = record.get("new", 0)
    lines.append("")
    said = waiting(
        device, _domain(device, "frontend", False), _domain(device, "backend", False), keys, plight
    )
    both = " | ".join(
        f"{half} {name_of(device[half]['state'])}" for half in ("frontend", "backend")
    )
    lines.append(f"Now: {both}")
    for sentence in said:
        lines += textwrap.wrap(
            printable(sentence),
            min(width, WIDTH) - 4,
            initial_indent="     ",
            subsequent_indent="     ",
        )
    if device["breaches"]:
        lines += [
            "",
            f"{device['breaches']} times a rule of the handshake was broken; look for !! above.",
        ]
    return lines


def _entry(
    record: Record, device: Record, states: Mapping[str, int], milliseconds: float, column: int
) -> list[str]:
    half = record["half"]
    other = states["backend" if half == "frontend" else "frontend"]
    cell, arrow = [], False
    if record["kind"] == "hypervisor":
        cell = _wrap(f"* {record['text']}", "  ", column=column)
    else:
        tool = record["domid"] == 0 and not record["writer"].startswith("KERN")
        own = record["domid"] == record["owner"] and not tool
        by = "" if own else f"  [by {_who(record, device)}]"
        if record["kind"] in ("state", "refused"):
            arrow = own and record["kind"] == "state"
            odd = f"state '{printable(str(record['value']))}'"[: column // 2]
            head = name_of(record["new"]) if record["new"] else odd
            if record["kind"] == "refused":
                head = f"REFUSED: {head}"
            cell += _wrap(f"{head}{by}", "    ", column=column)
            if record["kind"] == "state":
                cell += _wrap(step(record, device["kind"], other, tool), "  ", "  ", column=column)
        elif record["kind"] == "removed":
            cell += [
                *_wrap(f"removed{by}", "    ", column=column),
                *_wrap(removed(record), "  ", "  ", column=column),
            ]
        elif record["kind"] == "early-read":
            cell += _wrap(
                f"{_who(record, device)} reads {record['key']}: not there", "  ", column=column
            )
        if record["kind"] == "error":
            cell += _wrap(f"reports an error: {record['text']}", "  ", column=column)
        if record["kind"] == "keys":
            cell += _wrap(f"writes {_keys(record)}{by}", "  ", column=column)
        elif _keys(record):
            cell += _wrap(f"with {_keys(record)}", "    ", "  ", column=column)
    lines = []
    for number, text in enumerate(cell):
        left, sign, right = (text, "   ", "") if half == "frontend" else ("", "   ", text)
        time = f"{milliseconds:>{_TIME - 2},.1f}  " if not number else " " * _TIME
        if arrow and not number:  # news for the other half, which watches this state
            sign = "-> " if half == "frontend" else "<- "
            left = f"{left} ".ljust(column, "-") if left else left
        lines.append(f"{time}{left:<{column}}{sign}{right}".rstrip())
    whole = _TIME + 2 * column + 1
    for breach in record.get("breaches", ()):
        lines += textwrap.wrap(
            printable(f"!! {breach['rule']}: {breach['what']}."),
            whole,
            initial_indent=" " * _TIME,
            subsequent_indent=" " * (_TIME + 3),
        )
        lines += textwrap.wrap(
            f"rule: {breach['text']} ({breach['source']}).",
            whole,
            initial_indent=" " * (_TIME + 3),
            subsequent_indent=" " * (_TIME + 3),
        )
    return lines


def _who(record: Record, device: Record) -> str:
    domid, label = record["domid"], record["writer"]
    if label == "xenstored":
        return "the store"
    if label in _WHO:
        return _WHO[label]
    if domid == 0:
        return f"{label}, a program of dom0"
    name = device["names"].get(str(domid))
    return f"{name}, domain {domid}" if name else f"domain {domid}"


def _keys(record: Record) -> str:
    keys: Mapping[str, str] = record.get("keys", {})
    telling = [key for key in keys if _tells(key)][:8]
    shown = [f"{key}={keys[key]}" for key in telling]
    others = [key for key in keys if key not in telling]
    count = len(others) + record.get("more", 0)
    if not shown:
        shown = others[:_NAMED]
        count -= len(shown)
    if count:
        shown.append(f"{count} more")
    return ", ".join(shown)


def _tells(key: str) -> bool:
    leaf = key.rpartition("/")[2] if key.startswith("queue-") else key
    return leaf in _TELLING or leaf.startswith("ring-ref")


def _wrap(text: str, later: str, first: str = "", *, column: int) -> list[str]:
    # First: what is escaped is longer, and a line break is no place to wrap at.
    return textwrap.wrap(
        printable(text),
        column,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
    )
