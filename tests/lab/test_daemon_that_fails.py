"""A real daemon that does not start, or ends at once: its last words are told, nothing is left.

The daemon here is a shell script in the place of Xen's, so that this runs everywhere.
"""

from pathlib import Path

import pytest

from hvsim.lab import real_daemons
from hvsim.lab.check import daemons as check_daemons
from hvsim.lab.load import load
from hvsim.lab.undo import UpError
from hvsim.lab.up import bring_up
from hvsim.observe.evidence import gather

LAB = '[[domain]]\nname = "x"\nmemory = 16\nprogram = "domains.guests.idle:main"\n'


def daemon(folder: Path, name: str, script: str, mode: int = 0o755) -> None:
    path = folder / "xen-4.17" / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(mode)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(real_daemons, "PROGRAMS", tmp_path)
    monkeypatch.setattr(check_daemons, "node_library", lambda: tmp_path)
    monkeypatch.setenv("HVSIM_RUN_DIR", str(tmp_path / "r"))
    (tmp_path / "lab.toml").write_text(LAB)
    return tmp_path


def test_a_store_that_ends_at_once(folder: Path) -> None:
    """Red when nobody mourns: ``up`` then waits for its time to pass."""
    daemon(folder, "xenstored", "#!/bin/sh\necho 'no luck today' >&2\nexit 3\n")
    with pytest.raises(UpError) as caught:
        bring_up(load(folder / "lab.toml", store="xenstored"), gather=gather)
    said = str(caught.value)
    assert f"the store of this lab has ended: {folder}/xen-4.17/bin/xenstored" in said
    assert "no luck today" in said
    assert list((folder / "r").iterdir()) == []


def test_a_store_that_cannot_be_executed(folder: Path) -> None:
    daemon(folder, "oxenstored", "#!/no/such/interpreter\n")
    with pytest.raises(UpError) as caught:
        bring_up(load(folder / "lab.toml", store="oxenstored"), gather=gather)
    assert "the store of this lab has ended" in str(caught.value)
    assert "not found" in str(caught.value)
    assert list((folder / "r").iterdir()) == []
