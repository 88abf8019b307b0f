"""xl's reading commands: the real xl inside dom0 and ours say the same of the same lab.

Seen red: with a vcpu-list that knows one vCPU per domain, and with free_memory without what is
still to be scrubbed.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from hvsim.lab.control import Control
from hvsim.toolstack.xl.table import VERBS
from hvsim.wire.control import Xl
from tests.support import optional
from tests.support.labs import ROOT, Commands, commands
from tests.support.waits import wait

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def lab() -> Iterator[Commands]:
    optional.xen_program("xl")
    optional.node_library()
    with commands() as hvsim:
        hvsim.ok("up", "--quiet", str(ROOT / "configs" / "single.toml"))
        yield hvsim
        hvsim.ok("down")


def both(lab: Commands, *words: str) -> tuple[tuple[int, str, str], tuple[int, str, str]]:
    """(exit code, stdout, stderr) of the real xl and of ours, what moves on made equal."""
    real = lab.run("exec", "Domain-0", "--", optional.xen_program("xl"), *words)
    ours = lab.run("xl", *words)
    return (
        (real.returncode, _still(real.stdout), _still(real.stderr)),
        (ours.returncode, _still(ours.stdout), _still(ours.stderr)),
    )


def _still(text: str) -> str:
    text = re.sub(r"(?m)^(cpu_mhz +: ).*$", r"\1MHZ", text)
    text = re.sub(r"(?m)^(free_memory +: ).*$", r"\1MIB", text)
    text = re.sub(r"(?m)^( +0: +\d+) +\d+ ", r"\1 MIB ", text)
    # State and time of a domain, and the CPU that it was last on.
    text = re.sub(r"(?m)[-rb]{2}(----) +\d+\.\d", r"XX\1 TIME", text)
    return re.sub(r"(?m)  \d+   [-rb]{2}- +\d+\.\d", " CPU XX- TIME", text)


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("list", "-v"),
        ("list", "-n"),
        ("list", "guest"),
        ("list", "nosuch"),
        ("list", "77"),
        ("vcpu-list",),
        ("vcpu-list", "guest"),
        ("vcpu-list", "nosuch"),
        ("vcpu-list", "77"),
        ("info",),
        ("domid", "guest"),
        ("domid", "nosuch"),
        ("domname", "1"),
        ("domname", "77"),
    ],
)
def test_real_xl_and_ours_agree(lab: Commands, words: tuple[str, ...]) -> None:
    real, ours = both(lab, *words)
    assert ours == real


def batch(lab: Commands, lines: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """What the real xl and ours say to each of *lines*, and the exit code."""
    program = optional.xen_program("xl")
    script = "".join(
        f"{program} {shlex.join(line)} </dev/null 2>&1; printf '\\nexit %d\\f' $?\n"
        for line in lines
    )
    real = lab.ok("exec", "Domain-0", "--", "sh", "-c", script).replace("\0", "").split("\f")
    (control,) = lab.base.glob("*/control")
    ours = []
    with closing(Control(control)) as toolstack:
        for line in lines:
            said: list[str] = []
            answer = toolstack.request(Xl(list(line)), out=said.append, err=said.append)
            ours.append(f"{''.join(said)}\nexit {answer.exit}")
    return [text.replace(program, "xl") for text in real[:-1]], ours


def differing(lab: Commands, lines: Sequence[Sequence[str]]) -> str:
    """Where the two differ, to be read; empty when they do not."""
    real, ours = batch(lab, lines)
    assert len(real) == len(lines)
    return "\n".join(
        f"$ xl {shlex.join(line)}\n--- real:\n{one}\n--- ours:\n{other}"
        for line, one, other in zip(lines, real, ours, strict=True)
        if one != other
    )


def test_help_is_xls(lab: Commands) -> None:
    """Every verb of xl.  Seen red: with a blank line more below the options of claims."""
    lines = [["help"], ["help", "nosuch"], *(["help", verb] for verb in VERBS)]
    said = differing(lab, lines)
    assert not said, said


ONE_ARGUMENT = ("pause", "unpause", "destroy", "domid", "domname", "network-list", "sysrq", "save")
MISTAKES = (
    ("list", "-x"),
    ("list", "--bogus"),
    ("create", "-x"),
    ("create", "--defconfig=/nonexistent"),
    ("-x", "list"),
    ("-N", "list"),
    ("nosuchcommand",),
    ("sh",),
    ("vcpu-l", "nosuch"),
    ("domi", "nosuch"),
    ("pause", "nosuch"),
    ("network-detach", "guest"),
    ("block-attach", "guest"),
    ("remus", "guest"),
    ("info", "--x"),
    ("dmesg", "-x"),
    ("list", "-h"),
    ("sched-credit2", "-d", "nosuch"),
    *((verb,) for verb in ONE_ARGUMENT),
)


def test_mistakes_are_answered_as_xl_does(lab: Commands) -> None:
    """Seen red: with exit code 1 for a verb without its argument."""
    said = differing(lab, MISTAKES)
    assert not said, said


def test_free_memory(lab: Commands) -> None:
    def free(text: str) -> int:
        found = re.search(r"free_memory +: (\d+)", text)
        assert found
        return int(found[1])

    def same() -> bool:
        real = lab.ok("exec", "Domain-0", "--", optional.xen_program("xl"), "info")
        return free(real) == free(lab.ok("xl", "info"))

    wait(same, "two readings of free_memory that nothing came between")
