"""A device class of a reader's own: the worked example, typed into a folder of its own.

Comes up, is seen, survives the death of its backend and of the toolstack, goes and comes back.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.labs import Commands, commands

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "vrng"
PATIENCE = 20.0


@contextmanager
def example(folder: Path) -> Iterator[Commands]:
    """The example, up; its files are copied as a reader copies them."""
    for file in EXAMPLE.iterdir():
        if file.suffix in (".py", ".toml"):
            shutil.copy(file, folder)
    with commands() as hvsim:
        hvsim.ok("up", "vrng.toml", cwd=folder)
        try:
            yield hvsim
        finally:
            hvsim.ok("down", "vrng")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Commands]:
    with example(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """For tests that leave a device that is connected."""
    with example(tmp_path_factory.mktemp("mine")) as made:
        yield made


def device(lab: Commands) -> dict[str, object] | None:
    """The row of the one device in ``hvsim ps``."""
    rows = [row for one in lab.json("ps")["domains"] for row in one["devices"]]
    assert len(rows) <= 1
    return rows[0] if rows else None


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def connected(lab: Commands) -> bool:
    row = device(lab)
    return row is not None and row["frontend_state"] == row["backend_state"] == 4


def received(lab: Commands) -> int:
    """How many random numbers the guest has got."""
    domid = next(row["domid"] for row in lab.json("ps")["domains"] if row["name"] == "guest")
    path = f"/local/domain/{domid}/device/vrng/0/received"
    done = lab.run("xenstore", "read", path)
    return int(done.stdout) if done.returncode == 0 else 0


def goes_on(lab: Commands) -> None:
    before = received(lab)
    until(lambda: received(lab) > before, "a further random number")


def test_it_comes_up_and_is_seen(shared: Commands) -> None:
    row = device(shared)
    assert row is not None
    assert (row["class"], row["vdev"], row["backend"]) == ("vrng", "vrng0", "entropy")
    assert connected(shared)
    goes_on(shared)
    told = shared.ok("xenstore", "timeline", "guest/vrng0")
    assert "Connected (4)" in told
    assert "vrng device" in told


def test_it_survives_its_backend(shared: Commands) -> None:
    goes_on(shared)
    old = device(shared)
    shared.ok("fault", "kill", "entropy")
    until(
        lambda: (
            (row := device(shared)) is not None
            and old is not None
            and row["backend_domid"] != old["backend_domid"]
            and connected(shared)
        ),
        "the device to connect to the new domain",
    )
    goes_on(shared)


def test_it_is_known_to_the_next_toolstack(lab: Commands) -> None:
    """Which attaches, detaches and moves it as the one that made it."""
    lab.ok("fault", "kill", "toolstack")
    until(lambda: connected(lab), "the next toolstack to know it")
    lab.ok("fault", "kill", "entropy")
    until(lambda: "restarted" in lab.ok("ps") and connected(lab), "the device to be moved")
    goes_on(lab)


def test_it_goes_and_comes_back(lab: Commands) -> None:
    assert lab.ok("device", "detach", "guest", "vrng0") == "detached vrng0\n"
    assert device(lab) is None
    assert "/vrng" not in lab.ok("xenstore", "ls", "-f", "/local/domain"), "no node is left"
    assert lab.ok("device", "attach", "guest", "vrng") == "attached vrng0\n"
    until(lambda: connected(lab), "the device to connect again")
    goes_on(lab)
    path = "/local/domain/2/device/vrng/0/interval-ms"
    assert lab.ok("xenstore", "read", path) == "50\n", "with the keys that its table has"
    assert lab.ok("device", "attach", "guest", "vrng") == "attached vrng1\n"


def test_what_was_detached_stays_away_over_a_reboot(lab: Commands) -> None:
    lab.ok("device", "detach", "guest", "vrng0")
    lab.ok("xl", "reboot", "guest")
    until(lambda: "restarted" in lab.ok("ps"), "the guest to be made again")
    assert device(lab) is None


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("detach", "guest", "vrng7"), "guest has no vrng7; it has vrng0"),
        (("detach", "nobody", "vrng0"), "there is no domain 'nobody' of this lab"),
        (("attach", "guest", "vrgn"), "declares no kind of device 'vrgn'; it has: vrng"),
        (("attach", "guest", "vbd"), "xl attaches and detaches those of Xen"),
        (
            ("attach", "guest", "vrng", "--from", "guest"),
            "guest serves no vrng; of this lab entropy does",
        ),
    ],
)
def test_what_cannot_be_done_is_told(shared: Commands, words: tuple[str, ...], text: str) -> None:
    done = shared.run("device", *words)
    assert done.returncode == 1
    assert text in " ".join(done.stderr.split())
    assert connected(shared), "nothing has happened to the one that is there"
