"""What xl says to a user's mistakes: every command of recordings 80 and 81 that is built here.

The same commands run in a lab; text (stdout and stderr in order) and exit code must be the
recorded ones, with numbers of domains and processes made equal.  What is not compared stands in
a table with its reason.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.toolstack.xl.main import COMMANDS
from tests.fidelity.recording import Command, commands
from tests.support.lab_host import LabHost

BRIDGE = "a bridge that a vif names is made, in dom0's own network namespace"
SICK = "there du1 had been killed by mem-set du1 1 before, which is not built here"
DIFFERENCES = {
    "xl create /root/domu/nobridge.cfg": BRIDGE,
    "xl network-attach du1 bridge=nosuchbr": SICK,
    "xl network-attach du1 mac=bogus": SICK,
    "xl network-detach du1 9": SICK,
    "xl block-attach du1 format=raw,vdev=xvdb,access=rw,target=/root/domu/d1.img": SICK,
    "xl -f create /root/domu/dup.cfg": SICK,
    "xl list": "a listing of that moment; its columns are compared below",
    "xl list b13": "a listing of that moment; its columns are compared below",
    "xl": "lists only the commands that are built",
    "xl console -n 5 b13": "the console's own content, and it is the client that reads it",
}


def normal(lines: list[str], home: str) -> list[str]:
    """Text with what cannot be equal made equal."""
    found = []
    for line in lines:
        line = line.replace(home, "/root/domu")
        line = re.sub(r"\[\d+\]", "[PID]", line)
        line = re.sub(r"Domain (\d+):", "Domain N:", line)
        line = re.sub(r"/(libxl|vbd|vif)/\d+/", r"/\1/N/", line)
        # "51712 0   5      4     8      8   ...": the guest's number; and one queue instead of two.
        row = re.fullmatch(r"(\d+) +(\d+) +\d+ +(\d) +(?:-?\d+) +(?:-?\d+) +(/\S+) *", line)
        if row is not None:
            line = " ".join((row[1], row[2], "N", row[3], "PORT REF", row[4]))
        found.append(line.rstrip())
    return found


def built(name: str) -> list[tuple[str, Command]]:
    """(the words after the shell's) of each recorded command whose verb is built here."""
    found = []
    for command in commands(name):
        line = re.sub(r"^timeout \d+ ", "", command.line)
        words = line.split()
        verb = next((word for word in words[1:] if not word.startswith("-")), "")
        known = verb in COMMANDS or verb in ("", "nosuchcommand")
        if words[0] == "xl" and known and ";" not in line and "|" not in line:
            found.append((line, command))
    return found


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabHost, Path]]:
    """A lab with du1 in it, and the recorded files in a directory of the test's."""
    home = tmp_path_factory.mktemp("domu")
    for image in ("d1.img", "d2.img"):
        (home / image).write_bytes(bytes(1 << 20))
    (home / "vmlinuz").write_bytes(b"\x7fELF" + bytes(4096))
    (home / "initrd.gz").write_bytes(b"\x1f\x8b")
    with LabHost(tmp_path_factory.mktemp("texts"), memory=4096) as lab:
        # The recorded set-up had no locks: there b13 got the image that du1 had.  Here it is
        # refused (tests/toolstack/test_images.py) unless somebody says otherwise, which we do.
        shared = [f"{home}/d1.img"]
        assert lab.request("lab", images={}, files=[], path=[], shared=shared).exit == 0
        domid = lab.create(
            f'name="du1"\nprogram="domains.guests.idle:main"\ndisk=["{home}/d1.img,raw,xvda,w"]'
        )
        lab.wait_node(f"/local/domain/{domid}/device/vbd/51712/state", "4")
        yield lab, home


def run(host: LabHost, home: Path, line: str, config: str | None) -> tuple[list[str], int]:
    """Run one recorded command line; what it said, both streams in order, and the exit code."""
    argv = shlex.split(line.replace("/root/domu", str(home)))[1:]
    if config is not None:
        written = config.replace("/root/domu", str(home))
        (home / line.split()[-1].rpartition("/")[2]).write_text(written)
    said: list[str] = []
    answer = host.control.request(
        "xl", argv=argv, cwd="/", json=False, out=said.append, err=said.append
    )
    lines = "".join(said).split("\n")
    while lines and not lines[-1]:
        lines.pop()
    return normal(lines, str(home)), answer.exit


@pytest.mark.parametrize("name", ["80-user-errors.txt", "81-user-errors-more.txt"])
def test_texts_and_exit_codes_are_those_of_a_real_xl(host: tuple[LabHost, Path], name: str) -> None:
    lab, home = host
    compared = 0
    wrong = []
    for line, command in built(name):
        if line in DIFFERENCES:
            continue
        expected = (normal(command.output, "/root/domu"), command.exit)
        found = run(lab, home, line, command.config)
        compared += 1
        if found != expected:
            wrong.append(f"$ {line}\n  real: {expected}\n  ours: {found}")
    assert not wrong, "\n".join(wrong)
    assert compared >= (35 if name.startswith("80") else 1)


def test_every_difference_is_still_one(host: tuple[LabHost, Path]) -> None:
    """A difference that has gone must leave the table."""
    lines = {
        line
        for name in ("80-user-errors.txt", "81-user-errors-more.txt")
        for line, _ in built(name)
    }
    assert lines >= DIFFERENCES.keys()


def test_the_columns_of_the_list_are_xls(host: tuple[LabHost, Path]) -> None:
    lab, _ = host
    (listed,) = [
        command for command in commands("46-pause.cmd.txt") if command.line == "xl list du1"
    ][:1]
    header, row = listed.output
    ours = lab.xl("list", "du1").out.splitlines()
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
    (long,) = lab.xl("list", "-l", "du1").data
    assert long["config"]["c_info"]["name"] == "du1"
    assert long["config"]["b_info"]["target_memkb"] == 128 * 1024
    assert [disk["vdev"] for disk in long["config"]["disks"]] == ["xvda"]
