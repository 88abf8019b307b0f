"""The parts of the root directory that decide without a mount: ways, skeletons, plans, words."""

import errno
import os
import stat
from pathlib import Path

import pytest

from hvsim.spawn.sandbox import granted, identity, skeleton
from hvsim.spawn.sandbox.refusal import WallError, sentence
from hvsim.spawn.sandbox.skeleton import FRESH, Skeleton
from hvsim.spawn.sandbox.system_files import ETC
from hvsim.spawn.sandbox.trail import MOST_LINKS, follow, is_below
from hvsim.spawn.sandbox.walls import Walls
from hvsim.wire.peer import is_a_domains


def ways(path: str, links: dict[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    trail = follow(path, links.__contains__, links.__getitem__)
    return trail.real, trail.links


def test_a_trail_has_every_link_at_its_own_place() -> None:
    """Red when an absolute link does not begin at the root again."""
    assert ways("/a/b", {}) == ("/a/b", ())
    assert ways("/a/../b/./c", {}) == ("/b/c", ())
    assert ways("/lib/x", {"/lib": "usr/lib"}) == ("/usr/lib/x", (("/lib", "usr/lib"),))
    links = {"/tmp/alias": "/data", "/data/img": "../disks/1"}
    assert ways("/tmp/alias/img", links) == (
        "/disks/1",
        (("/tmp/alias", "/data"), ("/data/img", "../disks/1")),
    )


def test_links_in_a_circle_end() -> None:
    with pytest.raises(OSError, match="symbolic links") as failure:
        ways("/a", {"/a": "b", "/b": "a"})
    assert failure.value.errno == errno.ELOOP
    long = {f"/{n}": f"{n + 1}" for n in range(MOST_LINKS)}
    assert ways("/0", long)[0] == f"/{MOST_LINKS}"


def test_below_is_by_whole_names() -> None:
    assert is_below("/a/b", "/a")
    assert is_below("/a", "/a")
    assert is_below("/a", "/")
    assert not is_below("/ab", "/a")


def test_a_survey_keeps_no_part_below_another(tmp_path: Path) -> None:
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "l").symlink_to("x")
    parts, links = skeleton.survey(
        [str(tmp_path / "x" / "y"), str(tmp_path / "l"), str(tmp_path / "x"), str(tmp_path / "no")]
    )
    assert parts == (str(tmp_path / "x"),)
    assert links == ((str(tmp_path / "l"), "x"),)


def test_a_skeleton_s_name_is_what_is_in_it() -> None:
    one = Skeleton(("/usr",))
    assert one.name == Skeleton(("/usr",)).name
    others = [Skeleton(("/opt",)), Skeleton(("/usr",), spots=(("/x", True),))]
    assert len({one.name, *(other.name for other in others)}) == 3


def test_what_programs_get_has_no_secrets() -> None:
    """The list of /etc names nothing under which secrets are known to lie.  Red with /etc whole."""
    secret = {"shadow", "gshadow", "sudoers", "ssh", "ssl/private", "ssl", "passwd-", "crypttab"}
    assert not secret & set(ETC)
    found = skeleton.for_programs(["/usr/lib"])
    assert "/etc" not in found.parts
    assert not [part for part in found.parts if part.startswith(("/root", "/home", "/var"))]
    assert dict(found.files)["/etc/passwd"].count("\n") == 2
    assert set(FRESH) <= set(found.directories)


def test_the_interpreter_may_lie_in_a_fresh_directory(tmp_path: Path) -> None:
    """A checkout in /tmp: its parts come after the empty /tmp.  Red when they come before."""
    if not str(tmp_path).startswith("/tmp/"):
        pytest.skip("the tests' directory is not below /tmp")
    found = skeleton.for_programs([str(tmp_path)])
    assert found.late == (str(tmp_path),)
    assert str(tmp_path) not in found.parts
    assert found.covers(str(tmp_path / "x"))


def grant(mode: int, wanted: granted.Mode, named: bool = True) -> granted.Grant:
    status = os.stat_result((mode, 1, 1, 1, 0, 0, 0, 0, 0, 0))
    return granted.Grant("/x", wanted, status, named)


@pytest.mark.parametrize(
    ("mode", "wanted", "named", "needs"),
    [
        (stat.S_IFREG | 0o644, "r", True, False),
        (stat.S_IFREG | 0o640, "r", True, True),
        (stat.S_IFREG | 0o644, "rw", True, True),
        (stat.S_IFREG | 0o666, "rw", True, False),
        (stat.S_IFDIR | 0o755, "r", True, True),  # what is in it may be closed
        (stat.S_IFDIR | 0o755, "r", False, False),
        (stat.S_IFDIR | 0o750, "r", False, True),
    ],
)
def test_who_needs_an_id_map(mode: int, wanted: granted.Mode, named: bool, needs: bool) -> None:
    assert grant(mode, wanted, named).needs_map is needs


def test_a_file_that_is_granted_twice_has_the_stronger_mode(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("")
    for files in ([(str(file), "r"), (str(file), "rw")], [(str(file), "rw"), (str(file), "r")]):
        plan = granted.plan((), files, Skeleton(("/usr",)), None)  # type: ignore[arg-type]
        assert [one.mode for one in plan.items] == ["rw"]


def test_ids_of_domains_are_nobody_s() -> None:
    """Above what systemd gives to containers, below its foreign ones; for every process number."""
    assert identity.own_id(1) > 0x6FFF_FFFF
    assert identity.own_id((1 << 22) - 1) < 0x7FFE_0000
    assert is_a_domains(identity.own_id(7))
    assert not any(map(is_a_domains, (0, 1000, 65534, 0x6FFF_FFFF, 0x7FFF_FFFF)))


def test_a_missing_wall_is_one_sentence_with_a_remedy() -> None:
    text = sentence("user-ns", "Operation not permitted")
    assert text.startswith("does not start without its walls: user-ns (user namespaces) cannot be")
    assert "Operation not permitted" in text
    assert "max_user_namespaces" in text
    assert text.endswith('or write walls = "what-there-is" in the lab file')
    assert "\n" not in text


def test_a_wall_that_fails_is_the_end_or_is_reported() -> None:
    def fail() -> None:
        raise OSError(errno.EPERM, "refused", "/x")

    with pytest.raises(WallError, match=r"root .* cannot be had: /x: refused"):
        Walls(False, ()).build("root", fail)
    lenient = Walls(True, ("landlock",))
    assert not lenient.build("root", fail)
    assert lenient.build("seccomp", lambda: None)
    assert lenient.report == ["landlock: left out for a test", "root: /x: refused"]
