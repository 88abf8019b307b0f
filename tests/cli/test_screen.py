"""Every help text fits a terminal of 80 columns, and no screen is coloured."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator

import pytest

from hvsim.commands.catalogue import Verb, catalogue
from hvsim.speak import folded
from tests.cli.helps import help_of
from tests.support.labs import Commands, commands

WIDTH = 80


@pytest.fixture(scope="module")
def hvsim_() -> Iterator[Commands]:
    with commands() as made:
        yield made


def test_help_fits(hvsim_: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    texts = [help_of(verb) for verb in catalogue() if verb.name[0] != "xl"]
    texts += [hvsim_.ok(*words) for words in (["--help"], ["xl", "--help"], ["up", "--help"])]
    assert [line for text in texts for line in text.split("\n") if len(line) > WIDTH] == []
    assert len(texts) > 20


@pytest.mark.parametrize("width", [60, 120])
def test_a_text_is_filled_for_the_width_that_there_is(hvsim_: Commands, width: int) -> None:
    said = hvsim_.ok("exec", "--help", COLUMNS=str(width))
    longest = max(len(line) for line in said.partition("example:")[0].split("\n"))
    assert width - 12 < longest <= width


def test_examples_are_lines_to_be_copied(hvsim_: Commands) -> None:
    said = hvsim_.ok("env", "--help", COLUMNS="40")
    assert '\n  (eval "$(hvsim env --as web-frontend)"; xenstore-read name)\n' in said


def of_a_terminal(hvsim_: Commands, *words: str) -> str:
    """What a command shows on a terminal of 80 columns, standard error too."""
    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("4H", 24, WIDTH, 0, 0))
    environment = {key: value for key, value in hvsim_.environment.items() if key != "NO_COLOR"}
    with subprocess.Popen(
        hvsim_.argv(*words), stdin=far, stdout=far, stderr=far, env=environment
    ) as process:
        os.close(far)
        said = b""
        try:
            while piece := os.read(near, 4096):
                said += piece
        except OSError:  # EIO: nobody has the other end any more
            pass
        os.close(near)
    process.wait()
    return said.decode()


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["labs"],
        ["ps"],
        ["nonsense"],
        ["validate", "configs/two-tier.toml"],
        ["up", "-x"],
    ],
    ids=" ".join,
)
def test_nothing_is_coloured_also_where_no_color_is_not_set(
    hvsim_: Commands, words: list[str]
) -> None:
    said = of_a_terminal(hvsim_, *words)
    assert said
    assert re.findall(r"\x1b\[[0-9;]*m", said) == []


def test_a_long_sentence_is_folded_on_a_terminal_and_nowhere_else(hvsim_: Commands) -> None:
    words = ["up", "a-lab-file-with-a-rather-long-name-that-is-nowhere/to-be-found.toml"]
    (whole,) = hvsim_.run(*words).stderr.splitlines()
    first, *more = of_a_terminal(hvsim_, *words).splitlines()
    assert len(whole) > WIDTH >= max(map(len, [first, *more]))
    assert " ".join([first, *(line.strip() for line in more)]) == whole


def test_sentences_of_a_table_are_folded_in_their_column(hvsim_: Commands) -> None:
    """Seen red: as any other table."""
    whole = hvsim_.ok("fault", "list", "--available").splitlines()
    assert max(map(len, whole)) > WIDTH
    screen = of_a_terminal(hvsim_, "fault", "list", "--available").splitlines()
    assert max(map(len, screen)) <= WIDTH
    column = whole[0].index("WHAT HAPPENS")
    assert " ".join(" ".join(whole).split()) == " ".join(" ".join(screen).split())
    assert all(line[:column].strip() or line[column:].startswith("  ") for line in screen)


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two three", 0, ["one two three"]),
        ("one two three", 13, ["one two three"]),
        ("one two three", 12, ["one two", "  three"]),
        ("  one two three", 9, ["  one two", "    three"]),
        ("a" * 20 + " b", 10, ["a" * 20 + " b"]),
        ("", 10, [""]),
    ],
)
def test_folding(text: str, width: int, lines: list[str]) -> None:
    assert folded(text, width) == lines


def test_each_verb_has_its_own_words(hvsim_: Commands) -> None:
    known: list[Verb] = catalogue()
    assert len({verb.name for verb in known}) == len(known) > 40
