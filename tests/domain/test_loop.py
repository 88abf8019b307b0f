"""The event loop on a vCPU: nothing of it waits, or reads a clock, anywhere else."""

import asyncio
import os
import socket
import time
from functools import partial

import anyio
import msgpack
import pytest

from hvsim.abi.hypercall import LATER, HYPERVISOR_domctl
from hvsim.domain.loop import VCPULoop, run
from hvsim.domain.vcpu import VCPU
from hvsim.toolstack.host.deferred import Deferred
from tests.support.farend import FarEnd
from tests.support.waits import LIMIT


class Moved(VCPU):
    """A vCPU whose clock goes on only while it is blocked until a deadline, and then at once."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.blocked: list[float | None] = []
        super().__init__(lambda: self.at)

    def block(
        self, timeout: float | None = None, until: int | None = None, *, port: int | None = None
    ) -> bool:
        self.blocked.append(timeout)
        if super().block(0.0):
            return True
        if timeout is None:
            return super().block(LIMIT)  # for something from outside
        self.at += timeout
        return False


def test_sleeps_and_timeouts_are_the_vcpu_s() -> None:
    """Red on a loop of asyncio's own: an hour passes."""
    vcpu, order = Moved(), []
    began = time.monotonic()

    async def sleeper(seconds: float) -> None:
        await anyio.sleep(seconds)
        order.append(seconds)

    async def program() -> float:
        async with anyio.create_task_group() as tasks:
            for seconds in (3600.0, 60.0, 1800.0):
                tasks.start_soon(sleeper, seconds)
        with anyio.move_on_after(7200) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        return anyio.current_time()

    assert run(vcpu, program) == pytest.approx(1000 + 3600 + 7200)
    assert order == [60.0, 1800.0, 3600.0]
    assert time.monotonic() - began < 60
    vcpu.close()


def test_what_it_waits_for_is_what_the_vcpu_is_blocked_on() -> None:
    """Red when the loop's own set is waited on: the vCPU knows of no deadline."""
    vcpu = Moved()

    async def program() -> None:
        await anyio.sleep(5.0)

    run(vcpu, program)
    assert max(timeout or 0.0 for timeout in vcpu.blocked) == pytest.approx(5.0)
    vcpu.close()


def test_descriptors_wake_it_and_the_vcpu_s_own_handlers_run() -> None:
    vcpu, ours, seen = VCPU(), os.eventfd(0), []

    def rang() -> None:
        seen.append(os.eventfd_read(ours))
        left.send(b"hello")

    left, right = socket.socketpair()
    right.setblocking(False)
    vcpu.add_fd(ours, rang)
    vcpu.call_later(0.01, partial(os.eventfd_write, ours, 7))

    async def program() -> bytes:
        with anyio.fail_after(LIMIT):
            return await asyncio.get_running_loop().sock_recv(right, 10)

    with left, right:
        assert run(vcpu, program) == b"hello"
    assert seen == [7]
    os.close(ours)
    vcpu.close()


def test_a_handler_that_fails_ends_the_program() -> None:
    vcpu = VCPU()

    def fail() -> None:
        raise RuntimeError("a bug")

    vcpu.call_later(0.0, fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run(vcpu, anyio.sleep_forever)
    vcpu.close()


def test_an_awaited_hypercall_is_an_event_of_the_vcpu() -> None:
    far, vcpu = FarEnd(), Moved()

    async def program() -> list[object]:
        far.answer([LATER])
        late = msgpack.packb([[1], 0, "gone"])
        asyncio.get_running_loop().call_later(30.0, far.socket.send, late)
        return await Deferred(far.client).call(HYPERVISOR_domctl, 1)

    assert run(vcpu, program) == ["gone"]
    assert vcpu.now() == pytest.approx(1030.0)
    far.close()
    vcpu.close()


def test_a_closed_loop_leaves_the_vcpu_as_it_was() -> None:
    vcpu = VCPU()
    for _ in range(2):
        loop = VCPULoop(vcpu)
        assert loop.run_until_complete(asyncio.sleep(0, "done")) == "done"
        loop.close()
    assert not vcpu.block(0.0)
    vcpu.close()
