"""A whole host on the pure-Python twins: disks, a network, and driver domains that die."""

import json
import time
from pathlib import Path

from hvsim.lab.processes import family
from hvsim.lab.rundir import RunDir
from tests.support.labs import Commands, commands


def compiled(hvsim_: Commands) -> tuple[int, set[str]]:
    """How many processes the labs of these commands have, and which load the compiled helper."""
    found, loaders = 0, set()
    for path in hvsim_.base.iterdir():
        run = RunDir(path)
        run.read()
        for one in family(run.hypervisor) if run.hypervisor else ():
            try:
                maps = Path(f"/proc/{one.pid}/maps").read_text(errors="replace")
            except OSError:
                continue  # it has just ended
            found += 1
            if "hvsim/_native" in maps:
                loaders.add(f"{path.name} {one.pid}")
    return found, loaders


def test_the_demo_without_the_compiled_helper() -> None:
    """Red without HVSIM_PURE (where the helper was built), and when the spawner does not hand it
    on."""
    with commands() as hvsim_:
        hvsim_.environment["HVSIM_PURE"] = "1"
        words = ("--kills", "1", "--seed", "7", "--network", "--json")
        with hvsim_.start("demo", *words) as demo:
            most, loaders = 0, set[str]()
            while demo.poll() is None:
                now, wrong = compiled(hvsim_)
                most, loaders = max(most, now), loaders | wrong
                time.sleep(0.1)  # each lives for longer, and looking costs more than they do
            assert demo.stdout is not None
            found = json.loads(demo.stdout.read())
    assert demo.returncode == 0
    assert loaders == set()
    assert most >= 8
    network = found["network"]
    assert (found["complaints"], network["complaints"]) == ([], [])
    assert found["kills"] == 1
    if not network["impossible"]:
        assert [one["domain"] for one in network["outages"]] == ["network", "storage"]
