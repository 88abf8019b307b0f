"""``[[device]]``: what is wrong with a table is told with its place and remedy; what is right
reaches the toolstack."""

from pathlib import Path

import pytest

from hvsim.lab.devices import declarations, of_domain
from hvsim.lab.load import load
from hvsim.lab.problems import LabFileError
from hvsim.wire import requests
from hvsim.wire.control import asking
from hvsim.wire.lab_requests import Create
from hvsim.wire.packing import pack

DOMAINS = """
[[domain]]
name = "entropy"
role = "driver"

[[domain]]
name = "guest"
program = "domains.guests.idle:main"

[[domain]]
name = "other"
program = "domains.guests.idle:main"
"""
HALVES = 'frontend = "front:Front"\nbackend = "back:Back"\n'
DOMAINS_OF_IT = 'used_by = "guest"\nserved_by = "entropy"\n'


def lab_file(folder: Path, *tables: str) -> Path:
    (folder / "front.py").write_text("class Front:\n    pass\n")
    (folder / "back.py").write_text("class Back:\n    pass\n")
    file = folder / "lab.toml"
    file.write_text(DOMAINS + "".join(f"\n[[device]]\n{table}" for table in tables))
    return file


def refused(folder: Path, *tables: str) -> str:
    with pytest.raises(LabFileError) as caught:
        load(lab_file(folder, *tables))
    return "\n".join(str(one).replace(f"{folder}/", "") for one in caught.value.problems)


def test_a_table_reaches_the_model(tmp_path: Path) -> None:
    table = (
        'type = "vrng"\n' + HALVES + 'used_by = ["guest", "other"]\nserved_by = "entropy"\n'
        "backend_keys = { rate = 5, fast = true }\nfrontend_keys = { pool = 'big' }\n"
    )
    (device,) = load(lab_file(tmp_path, table)).devices
    assert device.used_by == ("guest", "other")
    assert device.backend_keys == {"rate": "5", "fast": "1"}
    assert declarations([device]) == [
        {
            "type": "vrng",
            "frontend": "front:Front",
            "backend": "back:Back",
            "backend_keys": ["rate", "fast"],
        }
    ]
    assert [row.devid for row in of_domain([device, device], "other")] == [0, 1]
    assert list(of_domain([device], "entropy")) == []


def test_the_halves_of_a_kind_are_said_once(tmp_path: Path) -> None:
    first = 'type = "vrng"\n' + HALVES + DOMAINS_OF_IT + "backend_keys = { rate = 5 }\n"
    second = 'type = "vrng"\nused_by = "other"\nserved_by = "entropy"\n'
    _, device = load(lab_file(tmp_path, first, second)).devices
    assert (device.frontend, device.backend_keys) == ("front:Front", {"rate": "5"})


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (
            'type = "vrng"\n' + DOMAINS_OF_IT,
            "nobody declares what 'vrng' is; name its halves: frontend = \"module:Class\"",
        ),
        (
            'type = "vrng"\nfrontend = "front:Front"\n' + DOMAINS_OF_IT,
            'the backend is missing; add backend = "module:Class"',
        ),
        (
            'type = "vbd"\n' + HALVES + DOMAINS_OF_IT,
            "'vbd' is the name of a kind that Xen has; call it something that Xen has not; such a "
            "device of Xen's stands in disk = [...] of a domain",
        ),
        (
            'type = "vtpm"\n' + HALVES + DOMAINS_OF_IT,
            "'vtpm' is the name of a kind that Xen has; call it something that Xen has not",
        ),
        (
            'type = "vrng"\nfrontend = "nowhere:Front"\nbackend = "back:Back"\n' + DOMAINS_OF_IT,
            "frontend: there is no module 'nowhere'; put it next to the lab file, or install it",
        ),
        (
            'type = "vrng"\nfrontend = "front:Fromt"\nbackend = "back:Back"\n' + DOMAINS_OF_IT,
            "the module 'front' has no 'Fromt'; did you mean 'Front'?",
        ),
        (
            'type = "vrng"\n' + HALVES + 'used_by = "gest"\nserved_by = "entropy"\n',
            "used_by: 'gest' names no domain; did you mean 'guest'?",
        ),
        (
            'type = "vrng"\n' + HALVES + 'used_by = "guest"\nserved_by = "entropi"\n',
            "served_by: 'entropi' names no domain; did you mean 'entropy'?",
        ),
        (
            'type = "vrng"\n' + HALVES + 'used_by = "guest"\nserved_by = "other"\n',
            "served_by: 'other' is no driver domain; add role = \"driver\" to it",
        ),
        (
            'type = "vrng"\n' + HALVES + 'used_by = "guest"\nserved_by = "Domain-0"\n',
            "dom0 serves Xen's own kinds alone",
        ),
        (
            'type = "vrng"\n' + HALVES + 'used_by = "entropy"\nserved_by = "entropy"\n',
            "used_by: 'entropy' serves it; name another domain",
        ),
        (
            'type = "V-RNG"\n' + HALVES + DOMAINS_OF_IT,
            "'V-RNG' is not of the right form; use small letters, digits and '_', at most 32",
        ),
        (
            'typ = "vrng"\n' + HALVES + DOMAINS_OF_IT,
            "unknown key 'typ'; did you mean 'type'?",
        ),
        (
            HALVES + DOMAINS_OF_IT,
            "the key 'type' is missing",
        ),
        (
            'type = "vrng"\n' + HALVES + 'served_by = "entropy"\n',
            "the key 'used_by' is missing",
        ),
        (
            'type = "vrng"\n' + HALVES + 'used_by = 3\nserved_by = "entropy"\n',
            "used_by: 3 does not fit; name a domain, or a list of domains",
        ),
        (
            'type = "vrng"\n' + HALVES + DOMAINS_OF_IT + "backend_keys = { 'a/b' = 1 }\n",
            "'a/b' is not of the right form; use letters, digits, '_' and '-', at most 64",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_remedy(tmp_path: Path, table: str, text: str) -> None:
    said = refused(tmp_path, table)
    assert text in said
    assert said.startswith("lab.toml:1") or "lab.toml:2" in said, "the line is named"


def test_two_tables_may_not_differ_in_what_the_kind_is(tmp_path: Path) -> None:
    first = 'type = "vrng"\n' + HALVES + DOMAINS_OF_IT
    second = first.replace("back:Back", "front:Front").replace('"guest"', '"other"')
    said = refused(tmp_path, first, second)
    assert "another [[device]] says that the backend of vrng is back:Back" in said


# ---- a package's declaration ----


def package(folder: Path, text: str | None) -> None:
    inside = folder / "vrng_kit"
    inside.mkdir()
    (inside / "__init__.py").write_text("raise SystemExit('it was run')\n")
    (inside / "front.py").write_text("class Front:\n    pass\n")
    (inside / "back.py").write_text("class Back:\n    pass\n")
    if text is not None:
        (inside / "device.toml").write_text(text)


KIT = (
    'type = "vrng"\nfrontend = "vrng_kit.front:Front"\nbackend = "vrng_kit.back:Back"\n'
    "[backend_keys]\nrate = 5\nfast = true\n"
)


def test_a_package_declares_a_kind_and_the_table_goes_before_it(tmp_path: Path) -> None:
    """Nothing of the package is run for it."""
    package(tmp_path, KIT)
    table = 'package = "vrng_kit"\n' + DOMAINS_OF_IT + "backend_keys = { rate = 7 }\n"
    (device,) = load(lab_file(tmp_path, table)).devices
    assert (device.type, device.backend) == ("vrng", "vrng_kit.back:Back")
    assert device.backend_keys == {"rate": "7", "fast": "1"}


@pytest.mark.parametrize(
    ("declaration", "text"),
    [
        (None, "the package 'vrng_kit' has no device.toml"),
        ("type = \n", "device.toml: Invalid value"),
        (KIT + "[more]\n", "device.toml: unknown key 'more'"),
        ("type = 3\n", "type, frontend and backend are texts"),
    ],
)
def test_a_bad_declaration_is_told(tmp_path: Path, declaration: str | None, text: str) -> None:
    package(tmp_path, declaration)
    assert text in refused(tmp_path, 'package = "vrng_kit"\n' + DOMAINS_OF_IT)


def test_a_package_that_is_not_there_is_told(tmp_path: Path) -> None:
    said = refused(tmp_path, 'package = "vrng_kit"\n' + DOMAINS_OF_IT)
    assert "there is no package 'vrng_kit'; it needs a device.toml" in said


def test_the_rows_are_what_the_wire_can_carry(tmp_path: Path) -> None:
    table = 'type = "vrng"\n' + HALVES + DOMAINS_OF_IT + "backend_keys = { rate = 5 }\n"
    devices = load(lab_file(tmp_path, table)).devices
    rows = list(of_domain(devices, "guest"))
    read = requests.read(pack(asking(Create("", devices=rows))))
    assert isinstance(read, Create)
    assert read.devices == rows
