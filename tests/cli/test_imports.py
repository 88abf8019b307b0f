"""What a command that is typed often imports: a listing must answer at once.

The lists are exact: whoever adds to one adds to the time that everybody waits, and says so here.
"""

import json
from collections.abc import Iterator

import pytest

from hvsim.commands import ps
from hvsim.commands.verbs import parser_of
from tests.support.labs import TWO_TIER, Commands, standing

LAB = """
[lab]
name = "quick"
[[domain]]
name = "one"
memory = 16
program = "domains.guests.idle:main"
"""
#: Runs a command, and prints the modules that it has imported beside those of the interpreter.
ASK = """
import json, sys
before = set(sys.modules)
from hvsim.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(set(sys.modules) - before)]))
"""
EVERY = {
    *("hvsim", "hvsim.cli", "hvsim.commands", "hvsim.commands.verbs", "hvsim.errors"),
    *("hvsim.printable", "hvsim.speak", "hvsim.surroundings"),
}
LISTING = EVERY | {
    *("hvsim.commands.common", "hvsim.lab", "hvsim.lab.answers", "hvsim.lab.builtin"),
    *("hvsim.lab.choose", "hvsim.lab.control", "hvsim.lab.processes", "hvsim.lab.rundir"),
    *("hvsim.lab.trust", "hvsim.lab.wire", "hvsim.linux", "hvsim.linux.proc", "hvsim.wire"),
    *(
        "hvsim.wire.bad",
        "hvsim.wire.closing",
        "hvsim.wire.control",
        "hvsim.wire.endpoints",
        "hvsim.wire.frames",
        "hvsim.wire.packing",
    ),
}
OURS = {
    ("--help",): EVERY,
    ("xl", "list"): LISTING | {"hvsim.commands.raw", "hvsim.commands.xl"},
    ("ps",): LISTING
    | {
        *("hvsim.abi", "hvsim.abi.xenbus", "hvsim.commands.ps", "hvsim.lab.states"),
        *("hvsim.observe", "hvsim.observe.compose", "hvsim.observe.model"),
        *("hvsim.observe.picture", "hvsim.observe.ps_words", "hvsim.toolstack"),
        *("hvsim.toolstack.host", "hvsim.toolstack.host.parts"),
    },
}
BIG = {
    *("anyio", "argparse", "asyncio", "dataclasses", "inspect", "jsonschema", "locale", "logging"),
    *("random", "selectors", "shutil", "socket", "subprocess", "tempfile", "tomllib", "traceback"),
    "zmq",
}
"""What none of them needs, and is slow to import."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with standing(tmp_path_factory.mktemp("lab") / "quick.toml", LAB, now=True) as made:
        yield made


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_what_is_imported(lab: Commands, words: tuple[str, ...]) -> None:
    """Red with an ``import argparse`` in ``hvsim.speak``, and with a dataclass in ``answers``."""
    found: set[str] = set()
    for _ in range(5):  # on a machine under load a listing may ask who is so slow
        *_, last = lab.script(ASK, *words).splitlines()
        code, names = json.loads(last)
        assert code == 0
        found = set(names)
        if "hvsim.lab.silence" not in found:
            break
    assert {name for name in found if name.partition(".")[0] == "hvsim"} == OURS[words]
    assert not found & BIG


RULES = (
    "config",
    *("devices.numbering", "devices.qemu", "devices.vbd.refusals", "devices.vif.refusals"),
    *("domain.programs", "domain.refusals"),
    *("host.device", "host.errors", "host.images", "host.nodes", "host.refusal"),
)
"""What a lab file is checked by: the toolstack's reader of configs, and what it would refuse."""


def test_a_lab_file_is_checked_without_the_toolstack(lab: Commands) -> None:
    """Red with ``device_model`` for ``qemu`` in ``lab.check.backends``, with ``jsonschema`` in
    ``lab.schema``, and with ``EventMode`` imported in ``lab.model``."""
    *_, last = lab.script(ASK, "validate", str(TWO_TIER)).splitlines()
    code, names = json.loads(last)
    assert code == 0
    mine = [name.removeprefix("hvsim.toolstack.") for name in names if "hvsim.toolstack." in name]
    rooms = {rule.rpartition(".")[0] for rule in RULES} | {"devices", "domain", "host"}
    assert [one for one in mine if not one.startswith(RULES) and one not in rooms] == []
    others = (
        "hvsim.xenstore",
        "hvsim.hypervisor",
        "hvsim.domain",
        "hvsim.spawn",
        "hvsim.wire.boot",
    )
    assert [name for name in names if name.startswith(others)] == []
    needed = {"argparse", "dataclasses", "inspect", "locale", "shutil", "tomllib"}
    big = (BIG - needed) | {"msgspec", "msgpack", "difflib", "secrets", "ctypes"}
    assert {name.partition(".")[0] for name in names} & big == set()


def test_who_types_no_words_needs_no_parser() -> None:
    """Red when an option is added to the parser alone."""
    assert vars(parser_of("ps", ps).parse_args([])) == ps.NO_WORDS
