"""Rules of faults that stand: what somebody has broken on purpose, and how it is lifted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hvsim.observe.diagnosis.cause import NOTE, SLOW, STUCK, Cause, duration

if TYPE_CHECKING:
    from hvsim.observe.diagnosis.facts import StandingRule
    from hvsim.observe.diagnosis.host import Host

_FRAMES: Final = frozenset(
    ("drop", "delay", "duplicate", "corrupt", "reorder", "rate", "partition")
)
"""Settings of rules about frames."""


def causes(host: Host) -> dict[int, Cause]:
    """One for each that stands, by number."""
    found = {}
    for rule in host.facts.rules:
        cause = found[rule["number"]] = _of(host, rule)
        if _stops(rule):
            about = [device for device in host.devices() if host.about(rule, device)]
            cause.behind |= {host.front(device): None for device in about}
    return found


def blamed(rule: StandingRule, what: str) -> bool:
    """Whether a rule can be why a device does not go on: it has fired, and not at a clock; and it
    did not kill once, for who lives again waits for something else.

    A link is down by a rule of links; rules of frames lose and keep what is on its way, and nobody
    in a ring waits for that.

    Args:
        what: is the matter with the device (`pairs.Symptom`).
    """
    if not rule["fired"] or rule["seam"] == "clock":
        return False
    if rule["settings"].get("process") in ("kill", "crash"):
        return False
    if rule["settings"].get("link") == "down":
        return what == "link-down"
    if what == "link-down":
        return "own" in rule["settings"]
    return rule["seam"] != "" or _FRAMES.isdisjoint(rule["settings"])


def _of(host: Host, rule: StandingRule) -> Cause:
    number, text = rule["number"], rule["text"]
    stood = max(0.0, host.facts.now - rule["since"])
    return Cause(
        culprit=f"rule {number}",
        what="rule",
        is_so=f"rule {number} ({text}) has it so, {_fired(rule)}",
        text=f"rule {number} ({text}) stands since {duration(stood)}, {_fired(rule)}",
        cure=f"hvsim fault remove {number}",
        severity=_weight(rule),
        rule=number,
        since=stood,
    )


def _fired(rule: StandingRule) -> str:
    if rule["trouble"]:
        return f"and could not be put in place: {rule['trouble']}"
    if not rule["fired"]:
        return "and has not fired yet"
    times = "once" if rule["fired"] == 1 else f"{rule['fired']} times"
    last = f", the last: {rule['last']}" if rule["last"] else ""
    return f"and has fired {times}{', and will not again' if _spent(rule) else ''}{last}"


def _spent(rule: StandingRule) -> bool:
    """Whether it has done all that it was to do."""
    return 0 < rule["times"] <= rule["fired"]


def _stops(rule: StandingRule) -> bool:
    """Whether a half of a ring takes nothing by this rule.  The ring looks as if it had taken all:
    it wants to be woken for whatever comes next."""
    return rule["settings"].get("ring") == "stop" and rule["fired"] > 0 and not _spent(rule)


def _weight(rule: StandingRule) -> str:
    settings = rule["settings"]
    if rule["trouble"] or not rule["fired"]:
        return NOTE
    if "link" in settings or "partition" in settings or _stops(rule):
        return STUCK
    if settings.get("process") == "restart-loop":
        return NOTE if _spent(rule) else STUCK  # who is dead by its last is told with it
    return SLOW if rule["seam"] == "cpu" else NOTE
