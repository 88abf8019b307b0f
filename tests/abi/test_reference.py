"""Every value of the fact sheet (Xen 4.17's headers, printed by a C program) against ours."""

import json
from pathlib import Path

import pytest

from tests.abi.facts import UNUSED_KEYS, UNUSED_SECTIONS, Value, our_value, unused_reason

REFERENCE: dict[str, dict[str, Value]] = json.loads(
    (Path(__file__).parent / "data" / "abi.json").read_text()
)
KEYS = [(section, key) for section, facts in REFERENCE.items() for key in facts]
USED = [(section, key) for section, key in KEYS if unused_reason(section, key) is None]

# What the block path, the store and the console stand on: no key of these may be excused.
COMPLETE_SECTIONS = [
    "blkif",
    "netif",
    "xenstore",
    "xenstore_errors",
    "XenbusState",
    "console",
    "event_channel",
    "hypercalls",
    "sched",
    "vcpu_op",
]


@pytest.mark.parametrize(("section", "key"), USED)
def test_value_equals_reference(section: str, key: str) -> None:
    assert our_value(section, key) == REFERENCE[section][key]


def test_the_sheet_is_whole() -> None:
    assert len(KEYS) >= 645


@pytest.mark.parametrize("section", COMPLETE_SECTIONS)
def test_no_excuse_in_what_everything_stands_on(section: str) -> None:
    assert section not in UNUSED_SECTIONS
    assert not UNUSED_KEYS.get(section)


def test_excuses_are_about_keys_that_exist_and_that_we_do_not_answer() -> None:
    excused = [(s, k) for s, keys in UNUSED_KEYS.items() for k in keys]
    assert set(excused) <= set(KEYS)
    assert set(UNUSED_SECTIONS) <= set(REFERENCE)
    answered = [pair for pair in excused if our_value(*pair) is not None]
    assert answered == []


def test_grant_table_version_1_and_every_status_are_compared() -> None:
    compared = {key for section, key in USED if section == "grant_table"}
    wanted = {
        key
        for key in REFERENCE["grant_table"]
        if key.startswith(("GNTST_", "GTF_", "GNTMAP_", "GNTTABOP_")) or "_v1_t" in key
    }
    assert wanted
    assert wanted <= compared
