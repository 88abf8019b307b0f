"""The client end of a hypercall connection, against a scripted far end.

What the real hypervisor answers is tested with the real one; here are the answers that it never
gives while all is well.
"""

import os
import socket
from collections.abc import Iterator

import msgpack
import pytest

from hvsim.abi.errno import E2BIG, EINVAL, EPERM
from hvsim.abi.hypercall import LATER, HYPERVISOR_domctl, HYPERVISOR_event_channel_op
from hvsim.domain.hypercall import HypercallError, Hypercalls
from hvsim.wire.typed import BadMessage
from tests.support.farend import FarEnd, Gone


@pytest.fixture
def far() -> Iterator[FarEnd]:
    far = FarEnd()
    yield far
    far.close()


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_call_is_one_message_each_way(far: FarEnd) -> None:
    far.answer([0, 7, {"x": 1}])
    assert far.client.call(HYPERVISOR_domctl, 5, 1, b"data") == [7, {"x": 1}]
    assert far.requests == [[36, 5, 1, b"data"]]


def test_an_error_names_call_command_and_errno(far: FarEnd) -> None:
    far.answer([-EPERM])
    with pytest.raises(HypercallError) as caught:
        far.client.call(HYPERVISOR_domctl, 2, 0)
    assert caught.value.errno == EPERM
    assert (caught.value.call, caught.value.cmd) == (HYPERVISOR_domctl, 2)
    assert str(caught.value) == "[Errno 1] domctl command 0x2: EPERM"


def test_descriptors_come_with_the_reply(far: FarEnd) -> None:
    bell = os.eventfd(0, os.EFD_CLOEXEC)
    far.answer([0, 3], [bell, bell])
    results, fds = far.client.call_fds(HYPERVISOR_event_channel_op, 6, 0x7FF0, 2)
    assert results == [3]
    assert len(fds) == 2
    os.eventfd_write(fds[0], 5)
    assert os.eventfd_read(bell) == 5
    assert not any(os.get_inheritable(fd) for fd in fds)
    for fd in (bell, *fds):
        os.close(fd)


def test_descriptors_beside_an_error_do_not_leak(far: FarEnd) -> None:
    bell = os.eventfd(0, os.EFD_CLOEXEC)
    before = open_fds()
    far.answer([-EINVAL], [bell])
    with pytest.raises(HypercallError):
        far.client.call_fds(HYPERVISOR_event_channel_op, 6, 1, 2)
    assert open_fds() == before
    os.close(bell)


def test_an_oversized_request_is_not_sent(far: FarEnd) -> None:
    for call in (far.client.call, far.client.call_fds):
        with pytest.raises(HypercallError) as caught:
            call(HYPERVISOR_domctl, 1, bytes(70_000))
        assert caught.value.errno == E2BIG
    far.answer([0])
    assert far.client.call(HYPERVISOR_domctl, 1) == [], "the connection is unharmed"


def test_the_hypervisors_death_in_a_call(far: FarEnd) -> None:
    far.hang_up()
    with pytest.raises(Gone):
        far.client.call(HYPERVISOR_domctl, 1)


def test_the_hypervisors_death_before_a_call(far: FarEnd) -> None:
    far.socket.close()
    with pytest.raises(Gone):
        far.client.call(HYPERVISOR_domctl, 1)
    with pytest.raises(Gone):
        far.client.call_fds(HYPERVISOR_domctl, 1)


def test_the_hypervisors_death_ends_the_process() -> None:
    near, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        other.close()
        try:
            Hypercalls(near.detach()).call(HYPERVISOR_domctl, 1)
        finally:
            os._exit(1)
    near.close()
    other.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 69


def test_an_answer_is_checked_where_it_is_read(far: FarEnd) -> None:
    """Red without the conversion in ``Hypercalls.ask``: the text passes for a number."""
    far.answer([0, [1, 2]])
    assert far.client.ask(list[int], HYPERVISOR_domctl, 1) == [1, 2]
    far.answer([0, [1, "two"]])
    with pytest.raises(BadMessage, match="int"):
        far.client.ask(list[int], HYPERVISOR_domctl, 1)


def test_late_answers_to_other_calls_are_put_aside(far: FarEnd) -> None:
    """Red without the look at the tag in either call: they take another call's answer for theirs,
    and leave their own to the next."""
    told: list[tuple[int, list[object]]] = []
    far.client.on_late = lambda tag, reply: told.append((tag, list(reply)))
    far.answer([LATER])
    assert far.client.begin(5, HYPERVISOR_domctl, 2, 1) is None
    assert far.requests == [[[5], 36, 2, 1]]
    far.socket.send(msgpack.packb([[5], 0]))
    far.answer([0, 7])
    assert far.client.call(HYPERVISOR_domctl, 5, 1) == [7]
    assert told == [(5, [0])]
    bell = os.eventfd(0, os.EFD_CLOEXEC)
    far.socket.send(msgpack.packb([[6], -EINVAL]))
    far.answer([0, 3], [bell])
    results, fds = far.client.call_fds(HYPERVISOR_event_channel_op, 6, 0x7FF0, 2)
    assert (results, len(fds), told[1:]) == ([3], 1, [(6, [-EINVAL])])
    for fd in (bell, *fds):
        os.close(fd)
    far.socket.send(msgpack.packb([[8], 0]))
    far.client.take_late()
    far.client.take_late()
    assert told[2:] == [(8, [0])]


def test_a_tagged_call_that_is_answered_at_once(far: FarEnd) -> None:
    far.answer([0, "x"])
    assert far.client.begin(1, HYPERVISOR_domctl, 5) == ["x"]
    far.answer([-EPERM])
    with pytest.raises(HypercallError) as caught:
        far.client.begin(1, HYPERVISOR_domctl, 2)
    assert caught.value.errno == EPERM
