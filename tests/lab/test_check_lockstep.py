"""What cannot be in lockstep is refused, by `validate`, `up` and `run`, before anything is started.

Seen red: without `refuse` in `bring_up`; with a look at the vifs of dom0's alone, at who serves
alone, at the program alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hvsim.lab.check.lockstep import lockstep_problems
from hvsim.lab.load import load
from hvsim.lab.model import Lab
from tests.support.labs import TWO_TIER, commands

DRIVER = '[[domain]]\nname = "there"\nrole = "driver"\n'
BARE = '[[domain]]\nname = "web"\nmemory = 32\n'
GUEST = f'{BARE}program = "domains.guests.web:main"\n'
OWN = 'program = "tests.lab.test_check_lockstep:nothing"\n'
FRAMES = 'args = { frames = "own" }\n'
PING = f'{BARE}program = "domains.guests.ping:main"\nvif = ["backend=there"]\n'
NETWORK = f'{DRIVER}program = "domains.network:main"\n'


def nothing() -> None:
    """Stands for a program of somebody's own."""


def lab(folder: Path, text: str) -> Lab:
    file = folder / "lab.toml"
    file.write_text(text, encoding="utf-8")
    return load(file)


def said(folder: Path, text: str) -> list[str]:
    return [f"{one.line} {one.place}: {one.text}" for one in lockstep_problems(lab(folder, text))]


def test_what_takes_turns_is_not_refused() -> None:
    assert lockstep_problems(load(TWO_TIER)) == []


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (
            f'{GUEST}vif = [""]\n',
            "1 domain 'web': --lockstep: vif 0: the bridge of Domain-0 is Linux', which takes no "
            "turns",
        ),
        (
            f'{GUEST}vif = ["backend=there"]\n{DRIVER}program = "domains.network:main"\n',
            "1 domain 'web': --lockstep: vif 0: the bridge of there is Linux', which takes no "
            "turns",
        ),
        (
            f'{GUEST}vif = ["backend=there"]\n{FRAMES}{NETWORK}{FRAMES}',
            "1 domain 'web': --lockstep: vif 0: the network stack behind it is Linux', which takes "
            "no turns",
        ),
        (
            f"{PING}{NETWORK}{FRAMES}",
            "1 domain 'web': --lockstep: vif 0: the network stack behind it is Linux', which takes "
            "no turns",
        ),
        (
            f"{PING}{FRAMES}{NETWORK}",
            "1 domain 'web': --lockstep: vif 0: the bridge of there is Linux', which takes no "
            "turns",
        ),
        (
            f'{DRIVER}program = {{ exec = ["sh"] }}\n',
            "1 domain 'there': --lockstep: 'sh' is a program of the machine, which takes no turns",
        ),
        (
            f'{DRIVER}program = "domains.qdisk:main"\n',
            "1 domain 'there': --lockstep: QEMU takes no turns",
        ),
    ],
)
def test_what_takes_none_is_named_with_its_place(tmp_path: Path, text: str, refused: str) -> None:
    assert said(tmp_path, text) == [refused]


def test_frames_that_no_linux_sees_are_not_refused(tmp_path: Path) -> None:
    own = f'{BARE}{OWN}vif = ["backend=there"]\n{FRAMES}{DRIVER}{OWN}{FRAMES}'
    assert said(tmp_path, own) == []
    assert said(tmp_path, f"{PING}{FRAMES}{NETWORK}{FRAMES}") == []


def test_every_verb_refuses_it_and_starts_nothing(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(f'{GUEST}vif = [""]\n', encoding="utf-8")
    story = tmp_path / "story.toml"
    story.write_text(
        '[scenario]\ntitle = "t"\nlab = "lab.toml"\n[[load]]\ndomain = "web"\n'
        '[[phase]]\nname = "one"\nfor = "1s"\n',
        encoding="utf-8",
    )
    with commands() as hvsim:
        hvsim.ok("validate", str(file))
        for words in (("validate", file), ("up", file), ("run", story), ("validate", story)):
            done = hvsim.run(words[0], "--lockstep", str(words[1]))
            assert done.returncode in (1, 2), words
            assert "the bridge of Domain-0 is Linux', which takes no turns" in done.stderr
            assert 'frames = "own"' in done.stderr, "the remedy"
            assert list(hvsim.base.iterdir()) == [], "nothing was begun"
