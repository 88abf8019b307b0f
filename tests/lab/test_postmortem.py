"""The folders of post-mortems: how many, how big, whose, and what is refused."""

import json
import os
from pathlib import Path

import pytest

from hvsim.errors import HvsimError
from hvsim.lab import postmortem
from hvsim.lab.trust import Untrusted


def keep(base: Path, **files: bytes) -> postmortem.Postmortem:
    return postmortem.keep("lab", "lab.toml", ["it fell", "a second line"], files, base)


def test_the_newest_are_kept_and_keep_their_numbers(tmp_path: Path) -> None:
    """Red with the removal taken out of ``keep``: there are twelve then."""
    base = tmp_path / "state" / "post-mortem"
    made = [keep(base, ps=str(number).encode()) for number in range(postmortem.KEEP + 2)]
    known = postmortem.all_kept(base)
    assert [one.number for one in known] == list(range(postmortem.KEEP + 2, 2, -1))
    assert {entry.name for entry in base.iterdir()} == {f"{one.number}-lab" for one in known}
    assert known[0] == made[-1]
    assert known[0].text("ps") == str(postmortem.KEEP + 1).encode()
    assert known[0].why == ("it fell", "a second line")
    with pytest.raises(HvsimError, match=r"no post-mortem 1 in .*; there are 12, 11,"):
        postmortem.find(1, base)


def test_a_file_is_bounded_and_keeps_its_end(tmp_path: Path) -> None:
    """Red with the cut taken out of ``_write``."""
    long = b"x" * postmortem.FILE_MAX + b"the end"
    many = {f"f{number:02}": b"" for number in range(postmortem.FILES_MAX + 5)}
    one = keep(tmp_path / "pm", **{"log/deep": long}, **many)
    kept = one.text("log/deep")
    assert len(kept) == postmortem.FILE_MAX
    assert kept.endswith(b"xthe end")
    assert kept.startswith(b"[the beginning was left out]\n")
    assert len(one.files) == postmortem.FILES_MAX + 1  # and what it is about


def test_nobody_else_reads_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        one = keep(tmp_path / "pm", ps=b"", **{"log/a": b""})
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (one.path, *one.path.rglob("*"))}
    assert modes == {0o700, 0o600}
    assert (tmp_path / "pm").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("what", ["others", "link", "file"])
def test_a_place_of_somebody_else_is_not_believed(tmp_path: Path, what: str) -> None:
    """Neither written to nor read.  Red with the checks of ``_locked`` and ``all_kept`` out."""
    base, real = tmp_path / "pm", tmp_path / "real"
    keep(real)
    if what == "others":
        os.rename(real, base)
        base.chmod(0o777)
    elif what == "link":
        base.symlink_to(real)
    else:
        base.write_text("")
    with pytest.raises((Untrusted, OSError)):
        keep(base)
    with pytest.raises(Untrusted):
        postmortem.all_kept(base)


@pytest.mark.parametrize(
    "about", ["", "[]", "{}", '{"lab": 1}', "[" * 9000, json.dumps({"lab": "x", "why": 3})]
)
def test_what_was_torn_is_passed_over(tmp_path: Path, about: str) -> None:
    one, torn = keep(tmp_path / "pm"), tmp_path / "pm" / "7-torn"
    torn.mkdir()
    (torn / postmortem.ABOUT).write_text(about)
    assert postmortem.all_kept(tmp_path / "pm") == [one]
    assert keep(tmp_path / "pm").number == 8


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HVSIM_STATE_DIR", str(tmp_path / "own"))
    assert postmortem.home() == tmp_path / "own" / "post-mortem"
    monkeypatch.delenv("HVSIM_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert postmortem.home() == tmp_path / "xdg" / "hvsim" / "post-mortem"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert postmortem.home() == tmp_path / ".local" / "state" / "hvsim" / "post-mortem"
    monkeypatch.setenv("HOME", "/nonexistent")
    assert postmortem.home() == Path(f"/tmp/hvsim-{os.getuid()}-state/post-mortem")
