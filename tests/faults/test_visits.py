"""Rules at a hypervisor's door that is made up: one that is slow, as on a loaded machine.

Red with the patience of who only looks, 0.2 s: the hypervisor adds the rule when nobody listens any
more, and nobody knows its number.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from hvsim.errors import HvsimError
from hvsim.faults import rules
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.rundir import RunDir
from hvsim.toolstack.host.trouble import Trouble
from hvsim.wire.fault import Rule
from hvsim.wire.packing import pack

SLOW = 0.4
STILL = Trouble("hypervisor", "stalled", "the hypervisor (pid 7) stands still", True)


@pytest.fixture
def lab() -> Iterator[RunDir]:
    """One whose hypervisor takes SLOW seconds to add a rule, its seventh."""
    with (
        tempfile.TemporaryDirectory(prefix="hv-", dir="/tmp") as base,  # socket paths are limited
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door,
    ):
        path = Path(base) / "door"
        door.bind(str(path))
        door.listen()

        def serve() -> None:
            visitor, _ = door.accept()
            with visitor, contextlib.suppress(BrokenPipeError):  # who has left hears nothing
                if visitor.recv(1 << 16):
                    time.sleep(SLOW)
                    visitor.send(pack([0, 7]))

        thread = threading.Thread(target=serve)
        thread.start()
        yield cast(RunDir, SimpleNamespace(door=path, hypervisor=None))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as knock:  # nobody else may have
            knock.connect(str(path))
        thread.join()


def test_a_rule_that_is_added_late_has_its_number(lab: RunDir) -> None:
    with rules.visit(lab) as door:
        assert rules.add(door, Rule()) == 7


def test_who_stands_still_is_not_waited_for(lab: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when it is looked at once nobody has answered."""
    monkeypatch.setattr(Inquiry, "hypervisor", lambda _: STILL)
    monkeypatch.setattr(rules, "Door", lambda *_: pytest.fail("it is waited for"))
    with pytest.raises(HvsimError, match="stands still"), rules.visit(lab):
        pass
