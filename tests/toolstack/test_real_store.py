"""The toolstack of a lab with a store of Xen's own, which nobody can bring back when it ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from hvsim.toolstack.host import dom0
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.dom0 import mourn
from tests.toolstack.fabricated import process

MOURNED = {"process": "xenstored", "program": "oxenstored"}
BEING_MADE = {**process(0, "xenstored", 0, alive=False), "gone": False}


class Host:
    """A toolstack, as far as it mourns; the hypervisor tells it *looks*, and from then on the last
    of them."""

    def __init__(self, looks: Iterator[list[dict[str, Any]]]) -> None:
        self.looks = 0
        self.lost, self.lab, self.stopping = "", "made-up", False
        self.notices = anyio.Event()
        self.dom = SimpleNamespace(log=lambda _: None)
        self.hypervisor = SimpleNamespace(processes=self._processes, note=lambda *_: None)
        self._looks, self._last = looks, list[dict[str, Any]]()

    def notice(self) -> None:
        self.notices.set()

    def _processes(self) -> list[dict[str, Any]]:
        self.looks += 1
        self._last = next(self._looks, self._last)
        return self._last


def test_a_store_that_is_not_there_yet_is_not_mourned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it has been there, and has ended.  Red, with a store that is lost at the first look,
    when its birth is not waited for, and when it is waited for so long only."""
    monkeypatch.setattr(dom0, "_RELEASE_TIMEOUT", 0.0)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as store:
        told = [[], [BEING_MADE], [BEING_MADE], [process(0, "xenstored", store.pid)]]
        host = Host(iter(told))

        async def main() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(mourn, cast(Toolstack, host), MOURNED)
                with anyio.fail_after(60.0):
                    while host.looks < len(told):
                        await anyio.sleep(0.001)
                        assert host.lost == ""
                    store.kill()
                    await host.notices.wait()

        anyio.run(main)
    assert host.lost.startswith("the store of this lab has ended: oxenstored held it")


def test_a_store_that_could_not_be_made_is() -> None:
    """Red when only a living one ends the wait."""
    host = Host(iter([[BEING_MADE], [process(0, "xenstored", 0, alive=False, status=256)]]))

    async def main() -> None:
        with anyio.fail_after(60.0):
            await mourn(cast(Toolstack, host), MOURNED)

    anyio.run(main)
    assert "has ended" in host.lost
