"""Options that verbs have in common stand before the verb or after it."""

import json
from collections.abc import Iterator

import pytest

from hvsim.commands.raw import split_lab
from hvsim.errors import HvsimError
from tests.support.labs import Commands, commands


@pytest.fixture(scope="module")
def hvsim_() -> Iterator[Commands]:
    with commands() as made:
        yield made


@pytest.mark.parametrize(
    "words",
    [
        ["ps"],
        ["down"],
        ["logs"],
        ["xl", "list"],
        ["xenstore", "ls", "/"],
        ["xenstore", "timeline"],
        ["fault", "kill", "x"],
        ["exec", "x", "--", "true"],
    ],
    ids=" ".join,
)
def test_the_lab_is_named_before_or_after_the_verb(hvsim_: Commands, words: list[str]) -> None:
    before = hvsim_.run("--lab", "nowhere", *words)
    behind = hvsim_.run(words[0], "--lab", "nowhere", *words[1:])
    joined = hvsim_.run("--lab=nowhere", *words)
    assert before.returncode == behind.returncode == joined.returncode == 1
    assert before.stderr == behind.stderr == joined.stderr
    assert "nowhere" in before.stderr
    if words[0] != "exec":  # whose command may have any words
        assert hvsim_.run(*words, "--lab", "nowhere").stderr == before.stderr


@pytest.mark.parametrize("words", [["labs"], ["postmortem"], ["validate", "configs/single.toml"]])
def test_so_is_json(hvsim_: Commands, words: list[str]) -> None:
    before, behind = hvsim_.ok("--json", *words), hvsim_.ok(*words, "--json")
    assert json.loads(before) == json.loads(behind)


def test_a_verb_that_has_none_of_it_says_so(hvsim_: Commands) -> None:
    done = hvsim_.run("--lab", "x", "validate", "configs/single.toml")
    assert done.returncode == 2
    assert "unrecognized arguments: --lab" in done.stderr
    assert hvsim_.run("--json", "completion", "bash").returncode == 2


@pytest.mark.parametrize(
    ("words", "rest", "lab"),
    [
        ("list", "list", None),
        ("--lab a list", "list", "a"),
        ("list --lab a -l", "list -l", "a"),
        ("list --lab=a --lab b", "list", "b"),
        ("write /a -- --lab", "write /a -- --lab", None),
    ],
)
def test_of_verbs_with_a_syntax_of_their_own(words: str, rest: str, lab: str | None) -> None:
    assert split_lab(words.split()) == (rest.split(), lab)


def test_without_a_name_it_is_refused() -> None:
    with pytest.raises(HvsimError, match="--lab needs the name of a lab"):
        split_lab(["list", "--lab"])
