"""What clients were told is read from their consoles while these grow.

Seen red: with a `Follower` that takes a line that has no end yet.
"""

from __future__ import annotations

from pathlib import Path

from hvsim.faults.scenario.history import Follower, History


def test_a_history_is_read_as_the_log_grows(tmp_path: Path) -> None:
    log = tmp_path / "db.log"
    client = Follower(log, History("db", "commits"))
    client.read(0.0)
    told = client.history
    with log.open("a") as file:
        file.write("database: on xvda\ncommit 1\r\ncomm")
        file.flush()
        client.read(1.0)
        assert (told.commits, told.orderly) == ([1], False)
        file.write("it 2\ncommit x\ndatabase: 2 batches committed\n")
    client.read(2.0)
    assert (told.commits, told.told, told.orderly) == ([1, 2], [1.0, 2.0], True)


def test_the_goodbye_of_a_client_over_a_network(tmp_path: Path) -> None:
    log = tmp_path / "client.log"
    log.write_text("commit 7\nclient: 1 requests answered, 0 connections lost\n")
    client = Follower(log, History("client", "commits"))
    client.read(1.0)
    assert (client.history.commits, client.history.orderly) == ([7], True)
