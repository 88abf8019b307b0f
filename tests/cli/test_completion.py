"""`hvsim --help`, each verb's help, and what a shell completes name the same verbs and options."""

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.commands.catalogue import Verb, catalogue
from tests.cli.helps import help_of
from tests.support import optional
from tests.support.labs import Commands, commands

_VERB = re.compile(r"^  ([a-z][a-z-]+)  ", re.M)
_OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")


@pytest.fixture(scope="module")
def hvsim_() -> Iterator[Commands]:
    with commands() as made:
        yield made


@pytest.fixture(scope="module")
def script(hvsim_: Commands, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("completion") / "hvsim.bash"
    file.write_text(hvsim_.ok("completion", "bash"))
    return file


def complete(script: Path, *words: str, cwd: Path | None = None, base: str = "") -> list[str]:
    """What bash offers for the last of *words*."""
    asked = '. "$1"; base=$2; shift 2; COMP_WORDS=(hvsim "$@"); COMP_CWORD=$#; _hvsim; '
    asked += 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "--norc", "-uc", asked, "bash", script, base, *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HVSIM_RUN_DIR": base},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def options_of(help_text: str) -> set[str]:
    """The options that a help text lists: the beginnings of the lines below "options:"."""
    listed = help_text.partition("\noptions:\n")[2].partition("\n\n")[0]
    heads = [re.split(r"\s{2,}", line[2:])[0] for line in listed.split("\n") if line[2:3] == "-"]
    return {flag for head in heads for flag in _OPTION.findall(head)}


@functools.cache
def verbs() -> list[Verb]:
    return catalogue()


def test_the_overview_and_the_shell_name_the_same_verbs(hvsim_: Commands, script: Path) -> None:
    told = _VERB.findall(hvsim_.ok("--help"))
    assert sorted(complete(script, "")) == sorted(told)
    assert len(told) > 10


def test_verbs_of_the_store_as_well(hvsim_: Commands, script: Path) -> None:
    told = _VERB.findall(hvsim_.ok("xenstore", "--help"))
    assert sorted(complete(script, "xenstore", "")) == sorted(told)
    assert "timeline" in told


def test_a_help_text_and_the_shell_name_the_same_options(script: Path) -> None:
    for verb in verbs():
        if verb.name[0] != "xl" and verb.name != ("xenstore",):
            told = options_of(help_of(verb))
            assert set(complete(script, *verb.name, "-")) == told, verb.name
            assert "--help" in told


def test_verbs_of_xl_are_those_that_it_knows_and_that_are_built(script: Path) -> None:
    offered = complete(script, "xl", "")
    assert {"list", "create", "block-attach", "console"} <= set(offered)
    assert not {"migrate", "pci-attach", "remus"} & set(offered)
    assert {"-l", "--long", "--json", "--lab"} <= set(complete(script, "xl", "list", "-"))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["p"], ["ps", "postmortem"]),
        (["fault", ""], ["kill", "stall", "resume", "add", "list", "remove"]),
        (["fault", "--lab", "x", "st"], ["stall"]),
        (["--lab", "x", "fault", "k"], ["kill"]),
        (["capture", "--side", ""], ["back", "front"]),
        (["up", "--store", "o"], ["oxenstored"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["logs", "-n", ""], []),
        (["-"], ["--lab", "--json", "--help", "--version"]),
        (["xl", "--lab", "x", "shutd"], ["shutdown"]),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_offered(script: Path, words: list[str], offered: list[str]) -> None:
    assert sorted(complete(script, *words)) == sorted(offered)


def test_files_labs_and_domains(script: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").touch()
    run = tmp_path / "run"
    (run / "first" / "console").mkdir(parents=True)
    (run / "first" / "lab.json").touch()
    (run / "first" / "console" / "web.log").touch()
    (run / "first" / "console" / "guest-network.log").touch()
    here = functools.partial(complete, script, cwd=tmp_path, base=str(run))
    assert here("up", "mi") == ["mine.toml"]
    assert here("down", "") == here("ps", "--lab", "") == here("--lab", "") == ["first"]
    assert sorted(here("fault", "kill", "")) == sorted(here("logs", "")) == ["network", "web"]


def test_the_other_shells_get_all_of_it_too(hvsim_: Commands) -> None:
    fish = hvsim_.ok("completion", "fish")
    for verb in verbs():
        assert f" -a {verb.name[-1]} -d " in fish
        for flag in (flag for word in verb.words for flag in word.flags):
            assert re.search(rf" -(l|s) {flag.lstrip('-')}\b", fish)
    assert hvsim_.ok("completion", "bash") in hvsim_.ok("completion", "zsh")


@pytest.mark.interop
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_they_take_it(hvsim_: Commands, shell: str, tmp_path: Path) -> None:
    program = optional.program(shell)
    file = tmp_path / "script"
    file.write_text(hvsim_.ok("completion", shell))
    subprocess.run([program, "-n", file], check=True, timeout=30)
