"""A domain without all of its walls does not start, unless the lab says so; and then it is said.

The machine of these tests gives nobody a namespace.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.lab.load import load
from hvsim.lab.problems import LabFileError
from hvsim.lab.rundir import RunDir
from hvsim.lab.up import create_request
from tests.support.labs import ROOT, Commands, commands

GUEST = """
[[domain]]
name = "{name}"
memory = 16
program = "domains.guests.idle:main"
{more}
"""
PIECES = ("user-ns", "pid-ns")  # the first that is asked for, by an ordinary user and by root


class Bare(Commands):
    """The same commands on a machine without namespaces."""

    def argv(self, *words: str) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "tests.support.no_namespaces", *super().argv(*words)]


@pytest.fixture(scope="module")
def bare() -> Iterator[Bare]:
    with commands() as made:
        yield Bare(made.base)


@pytest.fixture(scope="module")
def running(bare: Bare, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A lab of which one guest may start with what there is; what `up` said."""
    file = tmp_path_factory.mktemp("lab") / "some.toml"
    more = 'walls = "what-there-is"'
    file.write_text('[lab]\nname = "some"\n' + GUEST.format(name="open", more=more))
    yield bare.ok("up", "--quiet", str(file))
    assert "nothing of it is left" in bare.ok("down", "some")


def lab(folder: Path, text: str) -> str:
    file = folder / "lab.toml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def refused(done: "object", name: str) -> None:
    """One sentence: which domain, which wall, why, and what can be done."""
    assert getattr(done, "returncode", 0) == 1
    said = getattr(done, "stderr", "")
    assert [line.partition(":")[0] for line in said.splitlines()] == ["hvsim", "post-mortem"], said
    assert f"domain {name}: does not start without its walls: " in said
    assert any(f"walls: {piece} (" in said for piece in PIECES), said
    assert "Operation not permitted" in said
    assert 'walls = "what-there-is"' in said


def test_up_fails_at_a_driver_domain_before_anybody_waits_for_it(bare: Bare) -> None:
    """Not rebuilt, and not told as a device that is missing.  Red when verb_create neither waits
    for driver domains nor asks for those before: libxl's words after a while."""
    done = bare.run("up", "--quiet", str(ROOT / "configs" / "three-tier.toml"))
    refused(done, "network" if "domain network" in done.stderr else "storage")
    assert list(bare.base.iterdir()) == []


def test_up_fails_at_a_guest(bare: Bare, tmp_path: Path) -> None:
    """Red without the verb "started"."""
    text = GUEST.format(name="a", more="")
    refused(bare.run("up", "--quiet", lab(tmp_path, text)), "a")


def test_with_what_there_is_it_starts_and_up_and_ps_say_so(bare: Bare, running: str) -> None:
    assert "open runs without all of its walls: " in running
    rows = {row["name"]: row["walls"] for row in bare.json("ps")["domains"]}
    missing = {text.partition(":")[0] for text in rows["open"]}
    assert {"user-ns", "pid-ns", "mount-ns", "net-ns", "root"} <= missing
    assert rows["Domain-0"] == []
    shown = bare.ok("ps").splitlines()
    assert any(" open " in line and "without " in line for line in shown)


def test_xl_create_fails_in_a_sentence_and_leaves_nothing(
    bare: Bare, running: str, tmp_path: Path
) -> None:
    """What is made by hand has the lab's own `walls`.  Red when create does not wait."""
    config = tmp_path / "more.cfg"
    config.write_text('name = "more"\nmemory = 16\nprogram = "domains.guests.idle:main"\n')
    done = bare.run("xl", "create", "-q", str(config))
    assert done.returncode == 3
    assert "domain more: does not start without its walls: " in done.stderr
    assert done.stderr.count("\n") == 1
    assert "more" not in bare.ok("xl", "list")


def test_a_word_that_is_none_is_refused_by_validate(tmp_path: Path) -> None:
    with pytest.raises(LabFileError, match="'some' is not one of all, what-there-is"):
        load(lab(tmp_path, GUEST.format(name="a", more='walls = "some"')))
    two = GUEST.format(name="a", more="") + GUEST.format(name="b", more='walls = "all"')
    found = load(lab(tmp_path, '[lab]\nwalls = "what-there-is"\n' + two))
    assert [domain.walls for domain in found.domains] == ["what-there-is", "all"]


def test_a_served_image_is_granted_by_the_name_that_the_backend_is_told(tmp_path: Path) -> None:
    """A driver domain opens what `params` names, be that a link.  Red with the resolved path."""
    (tmp_path / "real.img").write_bytes(bytes(512))
    (tmp_path / "link.img").symlink_to("real.img")
    text = GUEST.format(name="a", more='disk = ["vdev=xvda,backend=s,target=link.img"]')
    text += '\n[[domain]]\nname = "s"\nrole = "driver"\nprogram = "domains.storage:main"\n'
    found = load(lab(tmp_path, text))
    driver = next(domain for domain in found.domains if domain.is_driver)
    request = create_request(found, RunDir(tmp_path / "run"), driver)
    assert (str(tmp_path / "link.img"), "rw") in request.files
