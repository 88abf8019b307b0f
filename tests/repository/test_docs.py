"""The reference is made from the code and lacks nothing; what the site says to type works."""

import json
import re
import shlex
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import pytest

import hvsim.domain
from docs.made.pages import PAGES
from docs.made.rows import rows_of
from hvsim.commands.catalogue import catalogue
from hvsim.commands.rows import JSON
from hvsim.commands.verbs import COMMANDS
from hvsim.faults.grammar import parse
from hvsim.faults.scenario.load import is_scenario
from hvsim.faults.scenario.load import load as load_scenario
from hvsim.hypervisor.kinds import COUNTED, FIELDS, KINDS
from hvsim.lab.load import load
from tests.cli.helps import help_of
from tests.support.labs import commands

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
_FLAG = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: make() for name, make in PAGES.items()}


def test_every_verb_and_option_is_in_it(pages: dict[str, str]) -> None:
    page = pages["commands.md"]
    assert set(re.findall(r"^## hvsim (\S+)$", page, re.M)) == set(COMMANDS)
    sections = dict(re.findall(r"^###? hvsim ([^\n]+)\n(.*?)(?=^##|\Z)", page, re.M | re.S))
    for verb in catalogue():
        section = sections[" ".join(verb.name)]
        told = {flag for word in verb.words for flag in word.flags}
        if verb.name[0] != "xl" and verb.name != ("xenstore",):
            listed = help_of(verb).partition("\noptions:\n")[2].partition("\n\n")[0]
            heads = [line for line in listed.split("\n") if line.startswith("  -")]
            told |= {flag for line in heads for flag in _FLAG.findall(line[2:].split("  ")[0])}
        missing = {flag for flag in told if f"`{flag}`" not in section}
        assert not missing, (verb.name, missing)


def keys(node: Any) -> set[str]:
    """Every key of the lab file, wherever it stands in the schema."""
    if isinstance(node, list):
        return set().union(*map(keys, node))
    if not isinstance(node, dict):
        return set()
    own = node.get("properties")
    return set(own if isinstance(own, dict) else ()) | keys(list(node.values()))


def test_every_key_of_a_lab_file_is_in_it(pages: dict[str, str]) -> None:
    schema = json.loads((ROOT / "hvsim" / "lab" / "schema.json").read_text(encoding="utf-8"))
    known = keys(schema)
    assert {key for key in known if f"| `{key}` |" not in pages["lab-file.md"]} == set()
    assert {"name", "disk", "exec", "transaction-nodes", "shared"} <= known


def test_every_key_of_a_scenario_is_in_it(pages: dict[str, str]) -> None:
    file = ROOT / "hvsim" / "faults" / "scenario" / "schema.json"
    known = keys(json.loads(file.read_text(encoding="utf-8")))
    assert {key for key in known if f"| `{key}` |" not in pages["scenario-file.md"]} == set()
    assert {"unchecked", "quiet", "within", "stall", "history", "when"} <= known


def test_every_kind_of_ledger_line_and_its_fields_are_in_it(pages: dict[str, str]) -> None:
    fields = {name for kind in KINDS.values() for name in kind.fields}
    names = {*KINDS, *FIELDS, *COUNTED, *fields}
    assert {name for name in names if f"`{name}`" not in pages["ledger.md"]} == set()


def test_what_a_domain_stands_on_is_in_it(pages: dict[str, str]) -> None:
    assert {
        name for name in hvsim.domain.__all__ if f"\n### {name}\n" not in pages["python.md"]
    } == set()
    assert "\n## hvsim.drivers.split.pool\n" in pages["drivers.md"]
    assert "\n### BlockFront\n" in pages["drivers.md"]


def test_every_field_of_json_is_in_it(pages: dict[str, str]) -> None:
    rows = {row for shape in JSON.values() for row in rows_of(shape)}
    names = {name for row in rows for name in get_type_hints(row)}
    assert all(is_typeddict(row) for row in rows)
    assert {name for name in names if f"`{name}`" not in pages["json.md"]} == set()


def test_every_verb_that_prints_json_says_what() -> None:
    able = {
        verb.name
        for verb in catalogue()
        if verb.name[0] != "xl" and any("--json" in word.flags for word in verb.words)
    }
    assert able - {("xenstore",)} == {name for name in JSON if name[0] != "xl"}


def test_what_a_lab_prints_is_what_is_told(tmp_path: Path) -> None:
    lab = tmp_path / "one.toml"
    lab.write_text(
        '[lab]\nname = "one"\n[[domain]]\nname = "a"\nprogram = "domains.guests.idle:main"'
    )
    with commands() as hvsim_:
        assert fits(hvsim_.json("validate", str(lab)), JSON[("validate",)])
        assert fits(hvsim_.json("up", str(lab)), JSON[("up",)])
        for words in (["ps", "--full"], ["labs"], ["logs"], ["env"], ["postmortem"]):
            assert fits(hvsim_.json(*words), JSON[(words[0],)]), words
        for words in (["ls", "/local"], ["read", "/local/domain/1/name"], ["list", "/"]):
            assert fits(hvsim_.json("xenstore", *words), JSON[("xenstore", words[0])]), words
        assert fits(hvsim_.json("xenstore", "timeline"), JSON[("xenstore", "timeline")])
        for verb in ("list", "vcpu-list", "info", "dmesg"):
            assert fits(hvsim_.json("xl", verb), JSON[("xl", verb)]), verb
        for line in hvsim_.ok("events", "--json").splitlines():
            record = json.loads(line)
            assert record.keys() <= {*FIELDS, *KINDS[record["kind"]].fields}, record
        assert fits(hvsim_.json("fault", "stall", "a"), JSON[("fault",)])
        assert fits(hvsim_.json("down", "--now"), JSON[("down",)])


def fits(value: Any, shape: Any) -> bool:
    """Whether *value* has just the keys that *shape* tells of, all the way down."""
    if is_typeddict(shape):
        hints = get_type_hints(shape)
        whole = isinstance(value, dict) and shape.__required_keys__ <= value.keys() <= hints.keys()
        return whole and all(fits(value[name], hints[name]) for name in value)
    parts = get_args(shape)
    if get_origin(shape) is list:
        return isinstance(value, list) and all(fits(one, parts[0]) for one in value)
    if get_origin(shape) is dict:
        return isinstance(value, dict) and all(fits(one, parts[1]) for one in value.values())
    if parts:
        return any(fits(value, part) for part in parts)
    return isinstance(value, (int, float) if shape is float else shape)


def test_a_row_that_has_another_key_or_none_does_not_fit() -> None:
    row = {"name": "one", "leftovers": []}
    assert fits(row, JSON[("down",)])
    assert not fits(row | {"more": 1}, JSON[("down",)])
    assert not fits({"name": "one"}, JSON[("down",)])
    assert not fits(row | {"leftovers": [1]}, JSON[("down",)])


def blocks(page: Path, language: str) -> list[str]:
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if kind == language]


@pytest.mark.parametrize("page", sorted((DOCS / "how-to").glob("*.md")), ids=lambda page: page.stem)
def test_labs_of_the_how_tos_are_sound(page: Path, tmp_path: Path) -> None:
    for text in blocks(page, "toml"):
        if "[[domain]]" in text:
            file = tmp_path / "lab.toml"
            file.write_text(text)
            lab = load_scenario(file).lab if is_scenario(file) else load(file)
            assert lab.domains


def test_the_guest_of_the_tutorial_says_hello(tmp_path: Path) -> None:
    (lab,), (program,) = (blocks(DOCS / "tutorial.md", kind) for kind in ("toml", "python"))
    (tmp_path / "hello.toml").write_text(lab)
    (tmp_path / "hello.py").write_text(program)
    with commands() as hvsim_:
        hvsim_.ok("up", str(tmp_path / "hello.toml"))
        assert "hello world" in hvsim_.ok("--lab", "hello", "logs", "greeter")
        hvsim_.ok("down", "hello")


def test_commands_that_the_site_says_to_type_exist() -> None:
    rooms = {verb.name for verb in catalogue()}
    for page in [*DOCS.glob("*.md"), *DOCS.glob("how-to/*.md"), ROOT / "README.md"]:
        for line in re.findall(
            r"^ {4,}(?:\$ )?hvsim (.*)$", page.read_text(encoding="utf-8"), re.M
        ):
            words = line.split("#")[0].split()
            words = words[2:] if words[0] == "--lab" else words
            assert (words[0],) in rooms, (page.name, line)
            if words[0] == "xenstore":
                assert tuple(words[:2]) in rooms, (page.name, line)


def test_rules_of_faults_that_the_site_says_to_type_are_rules() -> None:
    """Red with a word that no fault has, and with a value that it cannot have."""
    said = [
        line
        for page in [*DOCS.glob("*.md"), *DOCS.glob("how-to/*.md")]
        for line in re.findall(r"^ {4}hvsim fault add (.*)$", page.read_text("utf-8"), re.M)
    ]
    for line in said:
        target, *words = shlex.split(line.partition(";")[0], comments=True)
        assert parse(target, words).target == target
    assert len(said) > 20


def test_every_guest_that_comes_with_it_is_in_the_table_with_its_options() -> None:
    """Red with a table that a blank line breaks in two."""
    page = (DOCS / "guest-programs.md").read_text(encoding="utf-8")
    [table] = [part for part in page.split("\n\n") if "| `domains.guests.idle:main` |" in part]
    rows = {line.split("`")[1]: line for line in table.splitlines() if "`" in line}
    for file in sorted((ROOT / "domains" / "guests").glob("*.py")):
        text = file.read_text(encoding="utf-8")
        if "\ndef main(dom" in text:
            row = rows[f"domains.guests.{file.stem}:main"]
            options = re.findall(r'option\(found, "(\w+)"', text)
            assert "see the module" in row or [one for one in options if f"{one}=" not in row] == []


def test_no_page_is_forgotten() -> None:
    named = (DOCS / "index.md").read_text() + (DOCS / "reference" / "index.md").read_text()
    pages = {str(file.relative_to(DOCS).with_suffix("")) for file in DOCS.rglob("*.md")}
    pages = {page.removeprefix("reference/") for page in pages - {"index", "reference/index"}}
    assert {page for page in pages if not re.search(rf"^{page}$", named, re.M)} == set()
    assert {name.removesuffix(".md") for name in PAGES} <= set(named.split())
