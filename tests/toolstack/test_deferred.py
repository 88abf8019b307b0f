"""Hypercalls that are awaited: the loop goes on, and each answer finds who waits for it."""

import anyio
import msgpack
import pytest

from hvsim.abi.errno import EAGAIN
from hvsim.abi.hypercall import LATER, HYPERVISOR_domctl
from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.host.deferred import Deferred
from tests.support.farend import FarEnd


def test_answers_in_another_order_and_plain_calls_between() -> None:
    """Red when ``Deferred`` waits in the call: nothing else happens meanwhile."""
    far = FarEnd()
    order: list[object] = []

    async def wait(deferred: Deferred, cmd: int) -> None:
        far.answer([LATER])
        try:
            order.append((cmd, await deferred.call(HYPERVISOR_domctl, cmd)))
        except HypercallError as failure:
            order.append((cmd, failure.errno))

    async def run() -> None:
        deferred = Deferred(far.client)
        async with anyio.create_task_group() as tasks:
            for cmd in (1, 2, 3):
                tasks.start_soon(wait, deferred, cmd)
            await anyio.wait_all_tasks_blocked()
            far.answer([0, "plain"])
            order.append(far.client.call(HYPERVISOR_domctl, 9))
            for tag, *reply in ((3, 0, "c"), (1, 0), (2, -EAGAIN)):
                far.socket.send(msgpack.packb([[tag], *reply]))
        far.answer([0, 5])
        assert await deferred.call(HYPERVISOR_domctl, 4) == [5], "one that is answered at once"

    anyio.run(run)
    assert order == [["plain"], (3, ["c"]), (1, []), (2, EAGAIN)]
    far.close()


def test_who_gives_up_is_not_told() -> None:
    far = FarEnd()

    async def run() -> None:
        deferred = Deferred(far.client)
        far.answer([LATER])
        with anyio.move_on_after(0.01) as scope:
            await deferred.call(HYPERVISOR_domctl, 1)
        assert scope.cancelled_caught
        far.socket.send(msgpack.packb([[1], 0]))
        far.answer([LATER])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            with pytest.raises(HypercallError):
                await deferred.call(HYPERVISOR_domctl, 2)

    async def answer() -> None:
        far.socket.send(msgpack.packb([[2], -EAGAIN]))

    anyio.run(run)
    far.close()
