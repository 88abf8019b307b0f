"""Faults that happen now, where the signal is sent from here: to one that dies in that moment."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace
from typing import cast

import pytest

from hvsim.faults import now
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.processes import Handle, Identity


@pytest.mark.parametrize("action", ["stall", "resume"])
def test_who_has_ended_is_not_waited_for(action: str) -> None:
    """Red when only whether it stands still is looked at: no effect within 5 s, or resumed."""
    child = subprocess.Popen(["sleep", "60"])
    identity = Identity.of(child.pid)
    assert identity is not None
    handle = Handle(identity, os.pidfd_open(child.pid))
    child.kill()
    assert handle.wait(10)
    member = SimpleNamespace(open=lambda: handle)
    inquiry = cast(Inquiry, SimpleNamespace(member=lambda _: member))
    with pytest.raises(now.NoProcess, match="has ended meanwhile"):
        now._send(inquiry, child.pid, action, "spawner")
    child.wait()
