"""xl's reading commands: the real xl inside dom0 and ours say the same of the same lab.

Seen red: with a vcpu-list that knows one vCPU per domain, and with free_memory without what is
still to be scrubbed.
"""

import re
from collections.abc import Iterator

import pytest

from tests.support import optional
from tests.support.labs import ROOT, Commands, commands
from tests.support.real_labs import wait

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
        ("info", "--help"),
        ("vcpu-list", "--help"),
    ],
)
def test_real_xl_and_ours_agree(lab: Commands, words: tuple[str, ...]) -> None:
    real, ours = both(lab, *words)
    if words[-1] == "--help":  # ours has an example below
        assert ours[1].partition("\nExample:")[0].rstrip() == real[1].rstrip()
        return
    assert ours == real


def test_free_memory(lab: Commands) -> None:
    def free(text: str) -> int:
        found = re.search(r"free_memory +: (\d+)", text)
        assert found
        return int(found[1])

    def same() -> bool:
        real = lab.ok("exec", "Domain-0", "--", optional.xen_program("xl"), "info")
        return free(real) == free(lab.ok("xl", "info"))

    wait(same, "two readings of free_memory that nothing came between")
