"""A run as JUnit XML, for whoever collects tests: each check is a test case.  Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree

if TYPE_CHECKING:
    from hvsim.faults.scenario.rows import RunRow

_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML document may hold, not even escaped (XML 1.0, Char)."""


def junit(row: RunRow) -> str:
    """The document."""
    failed = sum(not one["held"] and one["counts"] for one in row["checks"])
    skipped = sum(not one["held"] and not one["counts"] for one in row["checks"])
    numbers = {
        "tests": str(len(row["checks"])),
        "failures": str(failed),
        "errors": "0",
        "skipped": str(skipped),
        "time": f"{row['seconds']:.3f}",
    }
    suites = ElementTree.Element("testsuites", {"name": "hvsim run", **numbers})
    suites.attrib.pop("skipped")
    suite = ElementTree.SubElement(suites, "testsuite", {"name": _text(row["scenario"]), **numbers})
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (("seed", str(row["seed"])), ("replay", row["replay"])):
        ElementTree.SubElement(properties, "property", {"name": name, "value": _text(value)})
    for check in row["checks"]:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {
                "classname": _text(f"hvsim.{row['scenario']}"),
                "name": _text(check["name"]),
                "time": "0.000",
            },
        )
        if not check["held"]:
            problems = _text("\n".join(check["problems"]))
            first = {"message": _text(check["problems"][0])}
            if check["counts"]:
                failure = ElementTree.SubElement(case, "failure", {**first, "type": "check"})
                failure.text = problems
            else:
                ElementTree.SubElement(case, "skipped", first)
    out = ElementTree.SubElement(suite, "system-out")
    out.text = _text("\n".join(f"{one['begun']:.3f} {one['text']}" for one in row["acts"]))
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(
        suites, encoding="unicode"
    )


def _text(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
