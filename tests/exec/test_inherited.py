"""No program in a domain holds a descriptor that is not its own: no wire of the process that stands
for its kernel, nothing of the program that was started before it.

A program's descriptors are compared, by what they are, with those of every other process of the
lab.  Red without MSG_CMSG_CLOEXEC in ``rights`` and without ``leave_to_program``: the second
program then holds the ends of the first one's sockets.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.lab.processes import descendants
from tests.support import optional
from tests.support.held import is_keeper, relatives, shared
from tests.support.labs import Commands, commands
from tests.support.qdisk_labs import Image, need
from tests.support.waits import wait

pytestmark = pytest.mark.interop

LAB = """
[lab]
name = "held"
[[domain]]
name = "twice"
memory = 32
role = "driver"
program = "twice:main"
args = { exec = ["sh"] }
[[domain]]
name = "machine"
memory = 16
program = { exec = ["sh", "-c", "exec 3<>/dev/xen/evtchn; sleep 1000 & wait"] }
"""
TWICE = """
import os

from hvsim.spawn.executable import Executable

NODES = "exec 3<>/dev/xen/evtchn 4<>/dev/xen/gntdev; echo open; exec sleep 1000"


def main(dom):
    null = os.open(os.devnull, os.O_RDONLY)
    ended = []
    for number in range(3):
        reader, writer = os.pipe()
        Executable(dom, ["sh", "-c", NODES], (null, writer, writer), ended.append)
        os.close(writer)
        said = []
        dom.vcpu.add_fd(reader, lambda: said.append(os.read(reader, 100)))
        dom.wait(lambda: said, 20, "the program's nodes")
        dom.vcpu.remove_fd(reader)
    dom.ready()
    dom.wait(lambda: len(ended) == 3 or dom.shutdown_requested, None, "the end")
"""


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    optional.node_library()
    folder = tmp_path_factory.mktemp("held")
    (folder / "twice.py").write_text(TWICE)
    (folder / "held.toml").write_text(LAB)
    with commands() as made:
        made.ok("up", "--quiet", str(folder / "held.toml"))
        yield made
        made.ok("down", "--now")


def hypervisor(made: Commands, lab: str) -> int:
    record = json.loads((made.base / lab / "lab.json").read_text())
    return int(record["hypervisor"]["pid"])


def programs(made: Commands, domain: str) -> list[int]:
    """The programs that the process of a domain has started; its keeper is none."""
    [row] = [row for row in made.json("ps")["domains"] if row["name"] == domain]
    found = descendants(int(row["pids"]["main"]))
    return [pid for pid in found if not is_keeper(pid)]


@pytest.mark.parametrize(("domain", "count"), [("twice", 3), ("machine", 1)])
def test_programs_of_a_domain(held: Commands, domain: str, count: int) -> None:
    found = programs(held, domain)
    assert len(found) >= count
    top = hypervisor(held, "held")
    for pid in found:
        above = [other for other in found if pid in descendants(other)]
        others = [other for other in relatives(top, pid) if other not in above]
        assert shared(pid, others) == []


LIST = "ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> \\(.*\\)/\\1 \\2/p'"


@pytest.mark.parametrize("domain", ["twice", "machine", "Domain-0"])
def test_programs_of_hvsim_exec(held: Commands, domain: str) -> None:
    """0, 1, 2, the door of its nodes, and the directory that ls(1) reads."""
    said = held.ok("exec", domain, "--", "sh", "-c", LIST).splitlines()
    numbers = {int(line.split()[0]): line.split(maxsplit=1)[1] for line in said}
    assert {0, 1, 2} <= set(numbers)
    rest = {fd: what for fd, what in numbers.items() if fd > 2 and "/proc/" not in what}
    assert len(rest) == 1, rest
    [(door, what)] = rest.items()
    assert door >= 200
    assert re.match(r"socket:", what)


def test_the_second_qemu_of_a_domain(tmp_path: Path) -> None:
    need()
    image = Image(tmp_path / "a", "raw").make("4M")
    other = Image(tmp_path / "b", "raw").make("4M")
    guests = "".join(
        f'[[domain]]\nname = "{name}"\nmemory = 16\nprogram = "domains.guests.idle:main"\n'
        f'disk = ["{one.disk("backend=storage")}"]\n'
        for name, one in (("one", image), ("two", other))
    )
    file = tmp_path / "q.toml"
    file.write_text(
        '[[domain]]\nname = "storage"\nmemory = 64\nrole = "driver"\n'
        f'program = "domains.qdisk:main"\nargs = {{ exec = ["{optional.qemu()}"] }}\n'
        f"{guests}"
    )
    with commands() as made:
        made.ok("up", "--quiet", str(file))
        wait(lambda: len(programs(made, "storage")) == 2, "two QEMUs")
        top = hypervisor(made, "q")
        for pid in programs(made, "storage"):
            assert shared(pid, relatives(top, pid)) == []
        made.ok("down", "--now")
