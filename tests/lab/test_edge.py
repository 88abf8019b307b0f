"""ZeroMQ at the edge of a lab: it serves, it may die, and it is nowhere else."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from hvsim.lab.rundir import RunDir
from tests.support.labs import Commands, standing
from tests.support.waits import LIMIT, wait

LAB = """
[lab]
name = "edge"
[[domain]]
name = "one"
memory = 16
program = "domains.guests.idle:main"
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with standing(tmp_path_factory.mktemp("lab") / "edge.toml", LAB, now=True) as made:
        yield made


@pytest.fixture(scope="module")
def run(lab: Commands) -> RunDir:
    return RunDir(lab.base / "edge").read()


@contextmanager
def dealer(run: RunDir, kind: int = zmq.DEALER, name: str = "control") -> Iterator[Any]:
    with zmq.Context() as context, context.socket(kind) as made:
        made.setsockopt(zmq.LINGER, 0)
        if kind == zmq.SUB:
            made.subscribe(b"")
        made.connect(f"ipc://{run.zmq / name}")
        yield made


def answer(socket: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while not found or not {"exit", "status"} & set(found[-1]):
        assert socket.poll(LIMIT * 1000), f"no more than {found}"
        found.append(msgpack.unpackb(socket.recv()))
    return found


def ask(socket: Any, **request: Any) -> list[dict[str, Any]]:
    socket.send(msgpack.packb(request))
    return answer(socket)


def pids(lab: Commands) -> dict[str, int]:
    rows = lab.json("ps")["processes"]
    return {row["name"]: row["pid"] for row in rows}


def renewed(lab: Commands) -> None:
    """The edge dies, and another one is there."""
    before = pids(lab)["zmq-edge"]
    lab.ok("fault", "kill", "zmq-edge")
    wait(lambda: pids(lab).get("zmq-edge") not in (None, before), "a new one")


def test_nobody_has_zeromq_but_the_edge_and_that_only_for_a_visitor(
    lab: Commands, run: RunDir
) -> None:
    """Red when the edge imports it at once, and with the toolstack's socket of before."""

    def with_it() -> set[str]:
        rows = {**pids(lab), "one": lab.json("ps")["domains"][1]["pid"]}
        maps = {name: Path(f"/proc/{pid}/maps").read_text() for name, pid in rows.items()}
        return {name for name, text in maps.items() if re.search("/zmq/|libzmq", text)}

    renewed(lab)
    assert with_it() == set()
    with dealer(run) as socket:
        assert ask(socket, verb="ready")[-1]["exit"] == 0
    assert with_it() == {"zmq-edge"}


def test_requests_of_several_find_their_answers(lab: Commands, run: RunDir) -> None:
    with dealer(run) as one, dealer(run) as two:
        for socket, words in ((one, ["list"]), (two, ["domid", "one"]), (one, ["list"])):
            socket.send(msgpack.packb({"verb": "xl", "argv": words, "cwd": "/"}))
            if socket is two:
                assert answer(two)[0]["out"] == "1\n"
            else:
                assert "one " in answer(one)[0]["out"]
        two.send_multipart([b"two", b"frames"])
        assert answer(two)[0]["err"].startswith("control: a request is one msgpack map")


def test_the_ledger_is_published_without_a_gap(lab: Commands, run: RunDir) -> None:
    """Red when ``_news`` does not ask again: the first batch is the last."""
    with dealer(run, zmq.SUB, "events") as events:
        numbers: list[int] = []

        def heard() -> bool:
            lab.ok("fault", "stall", "one")
            lab.ok("fault", "resume", "one")
            while events.poll(100):
                numbers.append(msgpack.unpackb(events.recv())["seq"])
            return len(numbers) > 6

        wait(heard, "records")
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_its_death_disturbs_nobody_and_it_comes_back(lab: Commands, run: RunDir) -> None:
    before = pids(lab)
    with dealer(run) as socket:
        assert ask(socket, verb="ready")[-1]["exit"] == 0
        lab.ok("fault", "kill", "zmq-edge")
        assert "one " in lab.ok("xl", "list")
        wait(lambda: pids(lab).get("zmq-edge") not in (None, before["zmq-edge"]), "a new one")
        assert ask(socket, verb="ready")[-1]["exit"] == 0, "ZeroMQ connects again"
    after = pids(lab)
    assert {**after, "zmq-edge": 0} == {**before, "zmq-edge": 0}
    told = re.compile(r"zmq-edge .* was killed by SIGKILL: it is started again")
    wait(lambda: told.search(lab.ok("events")), "a word of it in the ledger")
    noted = json.loads((run.path / "daemons").read_text())["daemons"]["zmq-edge"]
    assert noted["restarts"] >= 1


def test_the_toolstack_s_death_is_borne(lab: Commands, run: RunDir) -> None:
    """Who asks the one that came after it is told that his request is none of its."""
    with dealer(run) as socket:
        request = {"verb": "xl", "argv": ["shutdown", "-w", "one"], "cwd": "/"}
        lab.ok("xl", "pause", "one")  # it will not hear
        socket.send(msgpack.packb(request))
        assert "Shutting down domain" in msgpack.unpackb(socket.recv()).get("err", "")
        assert ask(socket, verb="status", asked=1)[-1]["status"]["yours"]["task"]
        lab.ok("fault", "kill", "toolstack")
        wait(lambda: "toolstack" in pids(lab), "a new one")
        assert ask(socket, verb="status", asked=2)[-1]["status"]["yours"] is None
        assert ask(socket, verb="ready")[-1]["exit"] == 0
    lab.ok("xl", "unpause", "one")
