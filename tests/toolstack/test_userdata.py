"""Notes that outlive the toolstack."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hvsim.domain.restarts import Restarts
from hvsim.toolstack.host.request import CreateRequest
from hvsim.toolstack.host.userdata import Record, Userdata, read_all
from hvsim.wire.lab_requests import DeclaredDevice

UUID = "8a8e1b6c-0000-4000-8000-000000000001"


def record() -> Record:
    lives = Restarts()
    lives.died(3.25)
    return Record(
        7,
        UUID,
        "caf\udce9",  # a config may hold bytes that are no UTF-8
        CreateRequest(
            config='name="caf\udce9"\n',
            config_path="a.cfg",
            directory="/d",
            overrides=("memory = 8",),
            images={"a.img": "/d/a.img"},
            program="p:main",
            args={"seed": 1, "deep": {"list": [1, 2.5, True, None, "x"]}},
            profile="driver",
            files=(("/d/a.img", "rw"),),
            path=("/d", "/e"),
            restart="always",
            paused=True,
            devices=(DeclaredDevice("vrng", 1, "entropy", {"a": "1"}, {"b": "2"}, there=False),),
            serves=("vtap",),
        ),
        "again",
        replaces=5,
        lives=lives.record(),
        handled=True,
        gave_up="why",
        changing=["vbd/51712"],
    )


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    told: list[str] = []
    notes = Userdata(tmp_path / "libxl", told.append)
    assert list(notes.records()) == []
    notes.keep(record())
    notes.keep(replace(record(), domid=12, stage="built"))
    assert [one.domid for one in notes.records()] == [7, 12]
    assert next(notes.records()) == record()
    assert (tmp_path / "libxl").stat().st_mode & 0o777 == 0o700
    notes.drop(7, UUID)
    notes.drop(7, UUID)
    assert [one.domid for one in notes.records()] == [12]
    assert told == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 2}', '{"format": 1, "request": {}}', "\x00", '{"format": 1'],
)
def test_a_note_that_cannot_be_read_is_said_and_passed_over(tmp_path: Path, text: str) -> None:
    notes = Userdata(tmp_path, lambda text: None)
    notes.keep(replace(record(), domid=9))
    (tmp_path / f"userdata-d.7.{UUID}.hvsim").write_text(text)
    (tmp_path / f"userdata-d.7.{UUID}.libxl-json").write_text("libxl's own")
    told: list[str] = []
    assert [one.domid for one in read_all(tmp_path, told.append)] == [9]
    assert len(told) == 1
    assert f"userdata-d.7.{UUID}.hvsim cannot be read" in told[0]


def test_a_note_is_whole_or_the_one_before(tmp_path: Path) -> None:
    """Red when it is written in place: what cannot be written takes the old note along."""
    told: list[str] = []
    notes = Userdata(tmp_path, told.append)
    notes.keep(record())
    notes.keep(replace(record(), changing=[object()]))  # type: ignore[list-item]
    assert len(told) == 1
    assert "would not survive the toolstack" in told[0]
    assert json.loads(next(tmp_path.glob("userdata-d.7.*")).read_text())["stage"] == "again"
