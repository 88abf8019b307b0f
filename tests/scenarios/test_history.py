"""What clients were told is read from their consoles while these grow.

Seen red: with a `Follower` that takes a line that has no end yet; with one that waits in a new file
for what stood in the full one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hvsim.drivers.console.log import ConsoleLog
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
    client.close()
    assert (told.commits, told.told, told.orderly) == ([1, 2], [1.0, 2.0], True)


@pytest.mark.parametrize("every", [1, 3, 13])
def test_a_history_goes_on_in_the_next_file(tmp_path: Path, every: int) -> None:
    """A client that tells much fills its console's file, each time anew; looked at so often."""
    log = tmp_path / "db.log"
    console = ConsoleLog(log, 100)
    client = Follower(log, History("db", "commits"))
    text = b"".join(b"commit %d\n" % number for number in range(1, 200))
    for count, begin in enumerate(range(0, len(text), 7), 1):  # lines are cut anywhere
        console.write(text[begin : begin + 7])
        if count % every == 0:
            client.read(float(count))
    client.read(1000.0)
    console.close()
    client.close()
    assert client.history.commits == list(range(1, 200))
    assert not client.history.lost


def test_what_nobody_could_read_is_known_to_be_lost(tmp_path: Path) -> None:
    log = tmp_path / "db.log"
    console = ConsoleLog(log, 100)
    client = Follower(log, History("db", "commits"))
    for number in range(30):
        console.write(b"commit %d\n" % number)
        if number in (0, 29):
            client.read(1.0)
    console.close()
    client.close()
    assert client.history.lost


def test_a_line_without_an_end_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "it.log"
    client = Follower(log, History("it", "secrets"))
    for _ in range(20):
        with log.open("ab") as file:
            file.write(b"x" * 50_000)
        client.read(1.0)
    assert len(client._rest) <= 1 << 16
    with log.open("ab") as file:
        file.write(b" secret k kept\n")
    client.read(2.0)
    client.close()
    assert client.history.secrets == [("k", False)]


def test_the_goodbye_of_a_client_over_a_network(tmp_path: Path) -> None:
    log = tmp_path / "client.log"
    log.write_text("commit 7\nclient: 1 requests answered, 0 connections lost\n")
    client = Follower(log, History("client", "commits"))
    client.read(1.0)
    client.close()
    assert (client.history.commits, client.history.orderly) == ([7], True)
