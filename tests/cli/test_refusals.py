"""Every command has help with an example; every refusal names the place and the remedy."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import hvsim.cli
from hvsim.commands.common import writable
from hvsim.commands.verbs import COMMANDS
from hvsim.errors import HvsimError
from tests.support.labs import TWO_TIER, Commands, commands


@pytest.fixture(scope="module")
def hvsim_() -> Iterator[Commands]:
    with commands() as made:
        yield made


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_has_help_with_an_example(hvsim_: Commands, verb: str) -> None:
    said = hvsim_.ok(verb, "--help")
    assert f"usage: hvsim {verb}" in said
    assert re.search(rf"example:\n +.*hvsim {verb}", said)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("run", "x.toml", "--seed", "9" * 5000), 2),
        (("down", "--timeout", "9" * 5000), 2),
        (("events", "--domain", "9" * 5000), 2),
        (("explore", "x.toml", "--order", "9" * 5000), 2),
        (("fault", "add", "web/xvda", "media=eio", f"times={'9' * 5000}"), 1),
        (("fault", "add", "web/xvda", "9" * 5000), 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_of_a_long_word_the_beginning_is_repeated(
    hvsim_: Commands, words: tuple[str, ...], code: int
) -> None:
    """Red when a screen of digits hides what is wrong with them."""
    done = hvsim_.run(*words)
    assert done.returncode == code, done.stderr
    assert f"{'9' * 50}" in done.stderr
    assert "9" * 61 not in done.stderr
    assert "9..." in done.stderr


def test_the_overview_lists_every_command(hvsim_: Commands) -> None:
    said = hvsim_.ok("--help")
    assert all(re.search(rf"^  {verb} ", said, re.M) for verb in COMMANDS)
    assert hvsim_.run().returncode == 2
    assert hvsim_.ok("help", "up") == hvsim_.ok("up", "--help")


def test_each_command_is_a_file_of_its_own() -> None:
    folder = Path(hvsim.cli.__file__).parent / "commands"
    assert set(COMMANDS) == {
        file.stem for file in folder.glob("*.py") if "\nHELP = " in file.read_text()
    }


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["lsit"], 2, "hvsim: unknown command 'lsit'; `hvsim --help` lists the commands"),
        (["fualt"], 2, "hvsim: unknown command 'fualt'; did you mean `hvsim fault`?"),
        (["ps"], 1, r"hvsim: no lab runs in \S+; start one with `hvsim up LAB.toml`"),
        (["xl", "list"], 1, "no lab runs"),
        (["xenstore", "ls"], 1, "no lab runs"),
        (["events"], 1, "no lab runs"),
        (["env"], 1, "no lab runs"),
        (["fault", "kill", "x"], 1, "no lab runs"),
        (["--lab", "x", "xl", "list"], 1, "--lab x: no such lab in .*; none runs"),
        (["xl", "--lab", "x", "list"], 1, "--lab x: no such lab"),
        (["ps", "--lab", "x"], 1, "--lab x: no such lab"),
        (["--lab"], 1, "--lab needs the name of a lab"),
        (["down"], 1, r"no lab in \S+ \(there is none\)"),
        (["down", "x"], 1, r"no lab x in \S+ \(there is none\)"),
        (["up", "none.toml"], 1, r"none.toml: there is no such file"),
        (["validate"], 1, "which lab file"),
        (["fault", "explode", "x"], 2, "invalid choice"),
        (["demo", "--kills", "-3"], 2, "a number from 0 to 2147483647 is wanted"),
    ],
)
def test_refusals(hvsim_: Commands, words: list[str], code: int, text: str) -> None:
    done = hvsim_.run(*words)
    assert done.returncode == code
    assert re.search(text, done.stderr)
    assert "Traceback" not in done.stderr


def test_down_says_where_it_has_the_name_from(hvsim_: Commands) -> None:
    done = hvsim_.run("down", HVSIM_LAB="over")
    assert done.returncode == 1
    assert re.search(
        r"HVSIM_LAB over: no such lab in \S+; there is none; `unset HVSIM_LAB`", done.stderr
    )


def test_a_bad_lab_file_is_refused_by_both_before_anything_starts(
    hvsim_: Commands, tmp_path: Path
) -> None:
    (tmp_path / "bad.toml").write_text(
        '[[domain]]\nname = "a"\nprogramm = "x:y"\n[[domain]]\nname = "a"\nprogram = "nope:main"\n'
    )
    said = hvsim_.run("validate", "bad.toml", cwd=tmp_path)
    assert said.returncode == 1
    assert said.stderr.splitlines() == [
        "hvsim: bad.toml:3: domain 'a': unknown key 'programm'; did you mean 'program'?",
        "bad.toml:6: domain 'a', program: there is no module 'nope'; put it next to the lab file, "
        "or name one of domains.guests",
    ]
    up = hvsim_.run("up", "bad.toml", cwd=tmp_path)
    assert (up.returncode, up.stderr) == (1, said.stderr)
    assert list(hvsim_.base.iterdir()) == []
    found = hvsim_.run("validate", "bad.toml", "--json", cwd=tmp_path)
    assert found.returncode == 1
    assert [one["line"] for one in json.loads(found.stdout)["problems"]] == [3, 6]


def test_validate_says_what_it_has_read(hvsim_: Commands) -> None:
    assert "sound: lab two-tier, 3 domains, 2 images" in hvsim_.ok("validate", str(TWO_TIER))
    assert json.loads(hvsim_.ok("validate", "--schema"))["title"] == "hvsim lab file"


def test_no_labs_is_an_answer(hvsim_: Commands) -> None:
    assert "No lab in" in hvsim_.ok("labs")
    assert hvsim_.json("labs") == []


def test_a_fault_of_ours_is_one_line_and_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("hvsim.lab.rundir.survey", broken)
    assert hvsim.cli.main(["labs"]) == 70
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    [log] = tmp_path.iterdir()
    assert str(log) in said
    assert "in broken" in log.read_text()


def test_a_base_that_cannot_be_made_is_refused(hvsim_: Commands, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = hvsim_.run("up", str(TWO_TIER), HVSIM_RUN_DIR=str(tmp_path / "file" / "x"))
    assert done.returncode == 1
    assert "Not a directory; set HVSIM_RUN_DIR to a directory that you may write to" in done.stderr
    deep = hvsim_.run("up", str(TWO_TIER), HVSIM_RUN_DIR=str(tmp_path / ("d" * 100)))
    assert "set HVSIM_RUN_DIR to a shorter directory" in deep.stderr


def test_a_file_with_a_name_that_none_can_have_is_refused() -> None:
    """Red with a fault of ours, and a log of it, for whoever has typed it."""
    for path in ("x" * 300, f"{'x' * 300}/report.html"):
        with pytest.raises(HvsimError, match="File name too long; name another file"):
            writable([None, path])
