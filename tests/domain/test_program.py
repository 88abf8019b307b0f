"""What a domain says about a program that it cannot load."""

from pathlib import Path

import pytest

from hvsim.domain.loading import ProgramError, load_program
from hvsim.domain.start import is_main
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import read


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_loads_module_and_function(programs: Path) -> None:
    (programs / "prog_ok.py").write_text("def main(dom):\n    return 'ran'\n")
    program = load_program("prog_ok:main")
    assert program(None) == "ran"


@pytest.mark.parametrize("reference", ["", "json", ":main", "json:"])
def test_a_reference_that_is_none(reference: str) -> None:
    with pytest.raises(ProgramError, match="not of the form module:function"):
        load_program(reference)


def test_a_missing_module_is_named_with_where_it_was_sought(programs: Path) -> None:
    with pytest.raises(ProgramError, match="there is no module 'prog_absent'") as caught:
        load_program("prog_absent.deep:main")
    assert str(programs) in str(caught.value)


def test_a_missing_function_is_answered_with_what_there_is(programs: Path) -> None:
    (programs / "prog_other.py").write_text(
        "from json import dumps\ndef start(dom): ...\ndef stop(dom): ...\n"
    )
    with pytest.raises(ProgramError, match=r"has no 'main'; it defines start, stop$"):
        load_program("prog_other:main")


def test_something_that_is_no_function(programs: Path) -> None:
    (programs / "prog_value.py").write_text("main = 5\n")
    with pytest.raises(ProgramError, match="'main' is not a function"):
        load_program("prog_value:main")


def test_a_program_whose_own_import_fails_shows_that_import(programs: Path) -> None:
    (programs / "prog_needy.py").write_text("import prog_library_that_is_absent\n")
    with pytest.raises(ModuleNotFoundError, match="prog_library_that_is_absent"):
        load_program("prog_needy:main")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"profile": "guest", "process": "guest"}, True),
        ({"profile": "driver"}, True),
        ({"profile": "dom0", "process": "kernel"}, True),
        ({"profile": "dom0", "process": "xenstored"}, False),
        ({"profile": "dom0", "process": "toolstack"}, False),
        ({"profile": "guest", "main": False}, False),
    ],
)
def test_who_speaks_for_the_domain(spec: dict[str, object], expected: bool) -> None:
    assert is_main(read(Spawn, spec)) is expected
