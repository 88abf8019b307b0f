"""A diagnosis as ``hvsim doctor`` tells it: of the lab, of a domain, or of a device.  Pure."""

from __future__ import annotations

from hvsim.errors import HvsimError
from hvsim.observe.diagnosis import table
from hvsim.observe.diagnosis.examine import examine
from hvsim.observe.diagnosis.facts import Facts
from hvsim.observe.diagnosis.rows import DoctorRow, FindingRow
from hvsim.observe.diagnosis.words import summary


def told(facts: Facts, about: str = "", source: str = "") -> DoctorRow:
    """What is to be said of *about*, a domain or a device (web/xvda), or a process of dom0; ""
    is everything.

    Raises: HvsimError: there is no such domain or device.
    """
    found = examine(facts)
    host = found.host
    if not host.domains:
        about = ""  # nobody knows them now, and what there is to be said is about all of them
    domain, slash, name = about.partition("/")
    number = host.domid(domain)
    if number is not None:
        domain = host.name(number)
    label = f"{domain}/{name}" if slash else ""
    findings = [one for one in found.findings if _touches(one, domain, label)]
    devices = table.of(found, domain, label)
    daemon = about in {row["name"] for row in facts.picture["processes"]}
    if about and not devices and not findings and (slash or number is None) and not daemon:
        there = ", ".join(dict.fromkeys([host.name(one) for one in host.domains if one]))
        devs = ", ".join(host.label(one) for one in host.devices())
        raise HvsimError(f"no domain or device {about!r}; there are: {there}; {devs}")
    return {
        "lab": facts.picture["lab"],
        "text": summary(findings, label or domain),
        "well": not any(one["severity"] != "note" for one in findings),
        "findings": findings,
        "waits": [
            edge
            for edge in found.edges
            if not about
            or edge["device"] == label
            or (not label and domain in (edge["who"], edge["on"]))
        ],
        "devices": devices,
        "source": source or facts.picture["source"],
        "unknown": facts.picture["unknown"],
    }


def _touches(finding: FindingRow, domain: str, label: str) -> bool:
    if not domain:
        return True
    if label:
        return label in finding["devices"] or finding["culprit"] == label
    names = {finding["culprit"].partition("/")[0], *finding["behind"]}
    return domain in names | {one.partition("/")[0] for one in finding["devices"]}
