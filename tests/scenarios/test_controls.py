"""What the checks of a whole run must find: a guest that steps out of its handshake, pages that
somebody keeps, a guest that crashes, clients that do not go on.

Each is the negative control of one check.  Seen red: the pages, when they were looked for before
the guest was gone.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.scenarios.short import TEXT
from tests.support.labs import commands

HEAD = TEXT.partition("[[phase]]")[0]
PHASES = """
[[phase]]
name = "calm"
until = [{ domain = "web", count = 5, within = "30s" }]
[[phase]]
name = "while"
for = "500ms"
"""
RUDE = """
from domains.guests.register import main as register
from hvsim.drivers.block.front import BlockFront


def main(dom):
    BlockFront.open(dom, "xvda")
    real = dom.ready

    def ready(text):
        real(text)
        DEED

    dom.ready = ready
    register(dom)
"""


def failed(tmp_path: Path, text: str, rude: str = "") -> dict[str, str]:
    """The checks that did not hold, and what they said first."""
    file = tmp_path / "it.toml"
    if rude:
        (tmp_path / "rude.py").write_text(RUDE.replace("DEED", rude), encoding="utf-8")
        text = text.replace(
            "args = { rate = 150, registers = 6, reads = 75 }",
            'program = "rude:main"\nhistory = "registers"',
        )
    file.write_text(text, encoding="utf-8")
    with commands() as hvsim:
        done = hvsim.run("run", str(file), "--json", "--lockstep")  # where waiting costs nothing
    assert done.returncode == 1, (done.stdout, done.stderr)
    return {
        check["name"]: check["problems"][0]
        for check in json.loads(done.stdout)["checks"]
        if not check["held"]
    }


def test_a_step_that_no_handshake_has(tmp_path: Path) -> None:
    # Later, when the lab was found ready.
    deed = "dom.sleep(2.0), dom.store.write('device/vbd/51712/state', '2')"
    phases = PHASES.replace("count = 5", "count = 1").replace("500ms", "4s")
    found = failed(tmp_path, HEAD + phases, deed)
    assert "vbd" in found["no step of a handshake breaks a rule"]


def test_pages_that_somebody_keeps(tmp_path: Path) -> None:
    hold = '[[fault]]\ntarget = "storage -> web"\ngrant = "hold"\n'
    found = failed(tmp_path, HEAD + hold + PHASES)
    assert found == {"no grant leaks": "domain 2 is dead, and somebody still holds its pages"}


def test_a_guest_that_crashes(tmp_path: Path) -> None:
    deed = "dom.sleep(2.0); raise ValueError('a wrong byte')"
    phases = PHASES.replace("count = 5", "count = 1").replace("500ms", "4s")
    found = failed(tmp_path, HEAD + phases, deed)
    assert "web has ended" in found["every guest is there"]
    assert "a wrong byte" in found["every guest is there"]


def test_clients_that_do_not_go_on(tmp_path: Path) -> None:
    stall = '[[phase]]\nname = "again"\nuntil = [{ domain = "web", within = "500ms" }]\n'
    late = '[[phase.step]]\nstall = "storage"\n[[phase]]\nname = "rest"\nfor = "300ms"\n'
    phases = PHASES + late.partition("[[phase]]")[0] + stall
    back = '[[phase]]\nname = "rest"\nfor = "100ms"\n[[phase.step]]\nresume = "storage"\n'
    found = failed(tmp_path, HEAD + phases + back)
    assert found == {"again: web goes on": "0 of 1 told within 0.5 s"}
