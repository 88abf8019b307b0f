"""What xl says to a user's mistakes: every command of recordings 80 and 81 that is built here.

The same commands run in a lab; text (stdout and stderr in order) and exit code must be the
recorded ones, with numbers of domains and processes made equal.  What is not compared stands in
a table with its reason.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from hvsim.wire.control import Xl
from tests.fidelity.recording import Command, commands
from tests.support import optional
from tests.support.lab_host import LabHost

RECORDINGS = ("80-user-errors.txt", "81-user-errors-more.txt")
MOMENT = "a listing of that moment; its columns are compared below"
MIGRATE = "a domain of this host cannot move: xl says so before it calls ssh"
DIFFERENCES = {
    "xl create /root/domu/nobridge.cfg": "a bridge that a vif names is made",
    "xl list": MOMENT,
    "xl list b13": MOMENT,
    "xl claims": MOMENT,
    "xl list; xenstore-ls -f /libxl; xenstore-ls -f /local/domain/0; losetup -a": MOMENT,
    "xl block-attach du1 format=raw,vdev=xvdb,access=rw,target=/root/domu/d1.img": "there du1 was "
    "being ended meanwhile: mem-set du1 1, which does that to no mini-OS",
    "xl migrate b13 nosuchhost.invalid": MIGRATE,
    "xl migrate -s /bin/false b13 localhost": MIGRATE,
    "xl console -n 5 b13": "the console's own content, and it is the client that reads it",
    "su nobody -s /bin/bash -c 'xl list'": "whoever made the lab may use it, whatever the user",
    "xenstore-list /local/domain": MOMENT,
    "xenstore-control quota 0": "figures of that moment; test_recorded_dom0 compares the words",
    "xenstore-control quota max": "the same",
}
DIED = "timeout 60 xl network-attach du1 bridge=nosuchbr"
"""From here on du1 was dead there: mem-set du1 1 had ended it."""


def normal(lines: list[str], home: str) -> list[str]:
    """Text with what cannot be equal made equal."""
    found = []
    for line in lines:
        line = line.replace(home, "/root/domu")
        line = re.sub(r"\[\d+\]", "[PID]", line)
        line = re.sub(r"(Domain |domid[ =]|qmp-libxl-)\d+", r"\1N", line)
        line = re.sub(r"/(libxl|vbd|vif)/\d+/", r"/\1/N/", line)
        # "51712 0   5      4     8      8   ...": the guest's number; and one queue instead of two.
        row = re.fullmatch(r"(\d+) +(\d+) +\d+ +(\d) +(?:-?\d+) +(?:-?\d+) +(/\S+) *", line)
        if row is not None:
            line = " ".join((row[1], row[2], "N", row[3], "PORT REF", row[4]))
        found.append(line.rstrip())
    return found


def recorded(name: str, program: str) -> Iterator[Command]:
    """The recorded commands of one kind: "xl", or what begins with "xenstore"."""
    for command in commands(name):
        line = re.sub(r"^timeout \d+ ", "", command.line)
        if line.startswith(program) and line not in DIFFERENCES:
            yield Command(line, command.output, command.exit, command.config)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabHost, Path]]:
    """A lab with du1 in it, and the recorded files in a directory of the test's."""
    home = tmp_path_factory.mktemp("domu")
    for image in ("d1.img", "d2.img"):
        (home / image).write_bytes(bytes(1 << 20))
    (home / "vmlinuz").write_bytes(b"\x7fELF" + bytes(4096))
    (home / "initrd.gz").write_bytes(b"\x1f\x8b")
    # The recorded set-up had no locks: there b13 got the image that du1 had.  Here it is refused
    # (tests/toolstack/test_images.py) unless somebody says otherwise, which we do.
    with LabHost(tmp_path_factory.mktemp("texts"), shared=[f"{home}/d1.img"]) as lab:
        domid = lab.create(
            f'name="du1"\nprogram="domains.guests.idle:main"\ndisk=["{home}/d1.img,raw,xvda,w"]'
        )
        lab.create(
            f'name="kept"\nprogram="domains.guests.idle:main"\ndisk=["{home}/d2.img,raw,xvda,r"]'
        )
        lab.wait_node(f"/local/domain/{domid}/device/vbd/51712/state", "4")
        yield lab, home


def shell(host: LabHost, command: Command) -> tuple[list[str], int]:
    """Run a recorded line as it stands; a watch that is to see nothing more need not wait long."""
    seconds = "0.5 " if command.exit == 124 else "10 "
    line = re.sub(r"^(timeout )\d+ ", rf"\g<1>{seconds}", command.line)
    if command.exit == 124:
        line = f"timeout 0.5 {line}"
    # Debian's wrappers ask /sys which Xen runs: the programs themselves, where they are at hand.
    xl = optional.find_xen_program("xl")
    path = ":".join([*([os.path.dirname(xl)] if xl else []), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-c", line],
        env={**os.environ, "XENSTORED_PATH": host.store_path, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
    )
    lines = done.stdout.split("\n")
    while lines and not lines[-1]:
        lines.pop()
    return lines, done.returncode


def run(host: LabHost, home: Path, line: str, config: str | None) -> tuple[list[str], int]:
    """Run one recorded command line; what it said, both streams in order, and the exit code."""
    argv = shlex.split(line.replace("/root/domu", str(home)))[1:]
    if config is not None:
        written = config.replace("/root/domu", str(home))
        (home / line.split()[-1].rpartition("/")[2]).write_text(written)
    said: list[str] = []
    answer = host.control.request(Xl(argv), out=said.append, err=said.append)
    lines = "".join(said).split("\n")
    while lines and not lines[-1]:
        lines.pop()
    return normal(lines, str(home)), answer.exit


@pytest.mark.parametrize(("name", "least"), [(RECORDINGS[0], 84), (RECORDINGS[1], 6)])
def test_texts_and_exit_codes_are_those_of_a_real_xl(
    host: tuple[LabHost, Path], name: str, least: int
) -> None:
    lab, home = host
    compared = 0
    wrong = []
    for command in recorded(name, "xl"):
        if f"timeout 60 {command.line}" == DIED:
            assert lab.xl("destroy", "du1").exit == 0
        expected = (normal(command.output, "/root/domu"), command.exit)
        found = run(lab, home, command.line, command.config)
        compared += 1
        if found != expected:
            wrong.append(f"$ {command.line}\n  real: {expected}\n  ours: {found}")
    assert not wrong, "\n".join(wrong)
    assert compared >= least


@pytest.mark.interop
def test_texts_and_exit_codes_of_debians_xenstore_tools(host: tuple[LabHost, Path]) -> None:
    """Debian's own programs on this store say what they said there.  Those that wait to the end of
    their time run side by side."""
    optional.program("xenstore-ls")
    lab, _ = host
    lines = list(recorded(RECORDINGS[0], "xenstore"))
    if os.getuid() == 0:
        lines += recorded(RECORDINGS[0], "su ")
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(partial(shell, lab), lines))
    wrong = [
        f"$ {command.line[:100]}\n  real: {command.output}, {command.exit}\n  ours: {ours}"
        for command, ours in zip(lines, found, strict=True)
        if ours != (command.output, command.exit)
    ]
    assert not wrong, "\n".join(wrong)
    assert len(lines) >= 30


def test_every_difference_is_still_one() -> None:
    """A difference that has gone must leave the table, and nothing recorded is left out."""
    lines = {
        re.sub(r"^timeout \d+ ", "", command.line)
        for name in RECORDINGS
        for command in commands(name)
    }
    assert lines >= DIFFERENCES.keys()
    assert all(line.startswith(("xl", "xenstore", "su ")) or line in DIFFERENCES for line in lines)


def test_the_columns_of_the_list_are_xls(host: tuple[LabHost, Path]) -> None:
    lab, _ = host
    (listed,) = [
        command for command in commands("46-pause.cmd.txt") if command.line == "xl list du1"
    ][:1]
    header, row = listed.output
    ours = lab.xl("list", "kept").out.splitlines()
    assert ours[0] == header
    shape = re.compile(r"^(\S+ +)(\d+)( +\d+)( +\d+)( {5})([-rbpscd]{6})( {2} *\d+\.\d)$")
    widths = []
    for line in (row, ours[1]):
        found = shape.match(line)
        assert found, line
        widths.append([len(part) for part in found.groups()[2:]])
    assert widths[0] == widths[1]


def test_the_verbose_and_the_long_list_have_xls_shape(host: tuple[LabHost, Path]) -> None:
    lab, _ = host
    verbose = lab.xl("list", "-v", "Domain-0").out.splitlines()
    assert verbose[0] == (
        "Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID"
        "                            Reason-Code\tSecurity Label"
    )
    assert verbose[1].endswith(" 00000000-0000-0000-0000-000000000000        -                -")
    (long,) = lab.xl("list", "-l", "kept").data
    assert long["config"]["c_info"]["name"] == "kept"
    assert long["config"]["b_info"]["target_memkb"] == 128 * 1024
    assert [disk["vdev"] for disk in long["config"]["disks"]] == ["xvda"]
