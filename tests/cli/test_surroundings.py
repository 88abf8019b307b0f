"""What a command begins with: closed descriptors, broken outputs, locales, bytes that are no text.

Seen red, each with its part of ``hvsim.surroundings`` or ``hvsim.wire.packing`` taken away:
``_open_missing`` (an eventfd of ours was the program's input), ``_Output`` (exit code 70), the new
beginning in UTF-8 mode, ``unicode_errors`` of ``pack``, ``working_directory``, and ``errors=`` in
``cli._unexpected``.
"""

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hvsim.cli
from hvsim import surroundings
from tests.support.labs import ROOT, Commands, commands

LAB = """
[lab]
name = "around"
[[domain]]
name = "gäst"
memory = 16
program = "domains.guests.idle:main"
"""
ASCII: dict[str, Any] = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
"""A locale whose encoding has no ä, and a Python that believes it."""
ODD = os.fsdecode("äd".encode() + b"\xff")
"""A name that no encoding knows."""


@pytest.fixture(scope="module")
def lab_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("lab") / "around.toml"
    file.write_text(LAB, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def lab(lab_file: Path) -> Iterator[Commands]:
    with commands() as made:
        made.ok("up", "--quiet", str(lab_file))
        yield made
        assert "nothing of it is left" in made.ok("down")


def close(*fds: int) -> str:
    """What a shell is told to close them."""
    return " ".join(("<&-", ">&-", "2>&-")[fd] for fd in fds)


def shell(lab: Commands, line: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command line as a shell takes it; ``hvsim`` stands for the command."""
    script = f'hvsim() {{ "$PYTHON" -m hvsim.cli "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", script, "bash", *words],
        env={**lab.environment, "PYTHON": lab.argv()[0]},
        cwd=ROOT, capture_output=True, text=True, timeout=90, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("closed", [(0,), (1, 2), (0, 1, 2)])
def test_a_lab_comes_up_whatever_is_closed(lab_file: Path, closed: tuple[int, ...]) -> None:
    """Case 01."""
    ends = close(*closed)
    with commands() as made:
        line = f"hvsim up --name c '{lab_file}' {ends} && hvsim exec gäst -- true {ends} && "
        done = shell(made, f"{line} hvsim xl list {ends} && hvsim down {ends}")
        assert (done.returncode, done.stderr) == (0, "")
        assert ("is ready" in done.stdout) is (1 not in closed)


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_a_program_never_gets_a_descriptor_of_ours(lab: Commands, fd: int) -> None:
    """It looks at itself and says what it saw by its status."""
    look = f"test ! -e /proc/self/fd/{fd} || test /proc/self/fd/{fd} -ef /dev/null"
    done = shell(lab, f"hvsim exec gäst -- sh -c '{look}' {close(fd)}")
    assert (done.returncode, done.stderr) == (0, "")
    assert shell(lab, f"hvsim exec gäst -- sh -c '{look}' {fd}</dev/zero").returncode == 1


@pytest.mark.parametrize("closed", [(0,), (1,)])
def test_no_verb_minds_a_closed_descriptor(lab: Commands, closed: tuple[int, ...]) -> None:
    for verb in ("xl console gäst", "xenstore ls", "ps", "labs", "events"):
        done = shell(lab, f"hvsim {verb} {close(*closed)}")
        assert (verb, done.returncode, done.stderr) == (verb, 0, "")


@pytest.mark.parametrize("verb", ["up --help", "xl list", "xenstore ls", "ps --json"])
def test_a_full_disk_is_a_sentence_and_a_gone_reader_is_silent(lab: Commands, verb: str) -> None:
    done = shell(lab, f"hvsim {verb} >/dev/full")
    assert (done.returncode, done.stderr) == (
        1,
        "hvsim: standard output: No space left on device\n",
    )
    done = shell(lab, f"hvsim {verb} | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_what_cannot_be_said_of_an_error_changes_no_exit_code(lab: Commands) -> None:
    assert shell(lab, "hvsim xl domid nobody 2>/dev/full").returncode == 1
    assert shell(lab, "hvsim nonsense 2>/dev/full").returncode == 2


@pytest.mark.parametrize("words", ["", "--json"])
def test_an_up_that_cannot_say_so_leaves_nothing(lab_file: Path, words: str) -> None:
    """Its exit code is that of a failure, whichever line it was.  Red without the end of
    ``commands.up.run``."""
    with commands() as made:
        done = shell(made, f"hvsim up {words} '{lab_file}' >/dev/full")
        assert (done.returncode, list(made.base.iterdir())) == (1, [])
        assert done.stderr == "hvsim: standard output: No space left on device\n"


@pytest.mark.parametrize("name", ["gäst", ODD], ids=["text", "bytes"])
def test_arguments_are_bytes_from_end_to_end(lab: Commands, name: str) -> None:
    """Case 10."""
    known = name == "gäst"
    done = lab.run("xl", "domid", name)
    assert (done.returncode, done.stdout) == ((0, "1\n") if known else (1, ""))
    assert "Traceback" not in done.stderr
    assert ("'äd\\xff'" in done.stderr) is not known
    done = lab.run("fault", "stall", ODD)
    assert done.returncode == 1
    assert "äd\\xff: there is nobody of that name" in done.stderr
    for domain in ("gäst", "Domain-0"):
        line = f'hvsim exec --env "NAME=$1" {domain} -- printf "%s $NAME" "$1" | od -An -tx1'
        said = shell(lab, line.replace("$NAME", "x"), name).stdout.split()
        assert bytes.fromhex("".join(said)) == os.fsencode(name) + b" x"
        line = f"""hvsim exec --env "NAME=$1" {domain} -- sh -c 'printf %s "$NAME"' | od -An -tx1"""
        assert bytes.fromhex("".join(shell(lab, line, name).stdout.split())) == os.fsencode(name)


def test_a_lab_whose_every_path_is_no_text(tmp_path: Path) -> None:
    """Its file, its run directory, where the user stands: in UTF-8 and in a locale of ASCII."""
    folder = tmp_path / ODD
    with commands() as made:
        base = made.base / ODD
        for environment in ({}, ASCII):
            folder.mkdir(exist_ok=True)
            (folder / "lab.toml").write_text(LAB, encoding="utf-8")
            (folder / "more.cfg").write_text(
                'name = "more"\nmemory = 16\nprogram = "domains.guests.idle:main"\n'
            )

            def ok(
                *words: str, around: "dict[str, Any]" = environment | {"HVSIM_RUN_DIR": str(base)}
            ) -> str:
                return made.ok(*words, cwd=folder, **around)

            ok("up", "--quiet", "lab.toml")
            try:
                assert json.loads(ok("labs", "--json"))[0]["lab_file"] == str(folder / "lab.toml")
                ok("xl", "create", "more.cfg")
                assert "domain.created" in ok("events")
                ok("fault", "kill", "xenstored")
                assert ok("exec", "Domain-0", "--", "sh", "-c", 'test -f lab.toml; echo "$?"') == (
                    "0\n"
                )
            finally:
                ok("down", "--now")
        assert list(base.iterdir()) == []
        base.rmdir()


def test_from_a_directory_that_is_gone(lab: Commands, lab_file: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    def there(line: str) -> "subprocess.CompletedProcess[str]":
        return shell(lab, f"cd '{gone}'; rmdir '{gone}'; {line}; status=$?; mkdir '{gone}'; "
                          "exit $status")  # fmt: skip

    assert "gäst" in there("hvsim xl list").stdout
    assert there("hvsim exec Domain-0 -- pwd").stdout == "/\n"
    assert there(f"hvsim validate '{lab_file}'").returncode == 0
    done = there("hvsim xl create x.cfg")
    assert done.returncode == 3
    assert "Failed to read config file: x.cfg: No such file or directory" in done.stderr
    done = there("hvsim up x.toml")
    assert (done.returncode, "x.toml: there is no such file" in done.stderr) == (1, True)


def test_a_locale_without_the_letter_shows_another_in_its_place(lab: Commands) -> None:
    """Case 20: every listing, and everything a program reads keeps the name."""
    assert "\ng?st " in lab.ok("xl", "list", **ASCII)
    assert " g?st " in lab.ok("ps", **ASCII)
    assert lab.ok("fault", "stall", "gäst", **ASCII).startswith("stalled g?st ")
    lab.ok("fault", "resume", "gäst")
    names = [row["name"] for row in json.loads(lab.ok("xl", "list", "--json", **ASCII))]
    assert names == ["Domain-0", "gäst"]
    assert lab.ok("xl", "domid", "gäst", **ASCII) == "1\n"
    assert lab.ok("exec", "gäst", "--", "printf", "ä", **ASCII) == "ä"
    assert "\ngäst " in lab.ok("xl", "list", LC_ALL="C")  # which Python takes for UTF-8


def test_a_lab_begun_in_another_locale_is_none_the_worse(lab_file: Path) -> None:
    """Its processes say what they say in logs, and a later command has its own locale."""
    with commands() as made:
        assert "g?st: created" in made.ok("up", str(lab_file), **ASCII)
        assert "\ngäst " in made.ok("xl", "list")
        assert "gäst: shut down" in made.ok("down")


def test_the_unexpected_is_told_whatever_is_in_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The second time there is no room for its details."""

    def broken() -> None:
        raise ZeroDivisionError(ODD)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("hvsim.lab.rundir.survey", broken)
    assert hvsim.cli.main(["--lab", ODD, "down"]) == 70
    [log] = tmp_path.iterdir()
    assert "hvsim --lab äd\\udcff down" in log.read_text(encoding="utf-8")
    assert "ZeroDivisionError: äd\\xff; details are in" in capsys.readouterr().err
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    assert hvsim.cli.main(["labs"]) == 70
    assert "no file for the details (No such file or directory)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("handler", "encoding", "expected"),
    [
        (surroundings.SHOWN, "ascii", b"?\\xffx?"),
        (surroundings.KEPT, "ascii", b"?\xffx?"),
        (surroundings.SHOWN, "utf-8", b"\xc3\xa4\\xffx?"),
        (surroundings.KEPT, "utf-8", b"\xc3\xa4\xffx?"),
        (surroundings.KEPT, "iso-8859-1", b"\xe4\xffx?"),
    ],
)
def test_what_a_locale_has_no_sign_for(handler: str, encoding: str, expected: bytes) -> None:
    assert "ä\udcffx\ud800".encode(encoding, handler) == expected


def test_the_reason_is_kept() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(surroundings.OutputFailed, match="No space left") as caught:
            surroundings.write_all(full, b"x")
    finally:
        os.close(full)
    assert caught.value.errno == errno.ENOSPC
