"""The rows of ``hvsim doctor --json``; each field says in its annotation what it means."""

from typing import Annotated, TypedDict


class FindingRow(TypedDict):
    """One cause, and what comes of it."""

    culprit: Annotated[str, "a domain, a process of dom0, a device, or a rule (rule 3)"]
    what: Annotated[str, "a word: stopped, paused, crashed, rule, stuck, bell-lost, ring-full, ..."]
    severity: Annotated[str, "stuck: somebody waits in vain; slow: it goes on; note: nobody waits"]
    text: Annotated[str, "the sentence"]
    cure: Annotated[str, "a command that helps, or what to do"]
    since: Annotated[float | None, "seconds that it has lasted, as far as that is known"]
    behind: Annotated[list[str], "domains that wait behind it"]
    devices: Annotated[list[str], "devices that are held up: web/xvda"]
    evidence: Annotated[list[str], "what it was concluded from"]


class PairRow(TypedDict):
    """A device with its two halves, as it stands now."""

    device: Annotated[str, "its domain and its name: web/xvda"]
    backend: Annotated[str, "who serves it: a domain, or a process of dom0"]
    frontend_state: Annotated[int | None, "XenbusState of the guest's half"]
    backend_state: Annotated[int | None, "XenbusState of the other"]
    unanswered: Annotated[int | None, "requests in the ring without a response"]
    untaken_requests: Annotated[int | None, "of those: the backend has not looked at them"]
    untaken_answers: Annotated[int | None, "responses at which the guest has not looked"]
    slots: Annotated[int | None, "slots of its ring"]
    bells: Annotated[list[str], "ports between the two that are pending or masked"]
    grants: Annotated[int, "pages of the guest that who serves it has mapped"]
    whose_turn: Annotated[str, "who has to move next, or nobody"]


class EdgeRow(TypedDict):
    """Somebody waits for somebody."""

    who: Annotated[str, "who waits"]
    on: Annotated[str, "for whom"]
    device: Annotated[str, "with which device"]
    why: Annotated[str, "the reason"]


class DoctorRow(TypedDict):
    """`hvsim doctor --json`"""

    lab: Annotated[str, "name of the lab"]
    text: Annotated[str, "all in one sentence"]
    well: Annotated[bool, "whether nobody waits in vain"]
    findings: Annotated[list[FindingRow], "the causes, the worst first"]
    waits: Annotated[list[EdgeRow], "who waits for whom"]
    devices: Annotated[list[PairRow], "every device, or the one that was named"]
    source: Annotated[str, "who told this: toolstack, hypervisor, /proc or post-mortem"]
    unknown: Annotated[str, "what could not be told, and why"]
