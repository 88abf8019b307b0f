"""The loads.  Each returns seconds per operation."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from benchmarks.store.client import Client, request
from benchmarks.store.daemons import Daemon
from hvsim.abi import xs_wire

Load = Callable[[Daemon], float]

NODE = "/bench/node"
DIRECTORY = "/bench/directory"
CHILDREN = 1000
IDLE = 200
CONNECTIONS = 16

READ = request(xs_wire.XS_READ, NODE)
WRITE = request(xs_wire.XS_WRITE, NODE, "value")
LIST = request(xs_wire.XS_DIRECTORY, DIRECTORY)
START = request(xs_wire.XS_TRANSACTION_START, "")


def furnish(daemon: Daemon) -> None:
    """Make the nodes that the loads use."""
    with daemon.connect() as client:
        client.write(NODE, "value")
        client.write_many([f"{DIRECTORY}/{number}" for number in range(CHILDREN)])


def one(message: bytes, count: int) -> Load:
    """One connection, one request at a time."""

    def load(daemon: Daemon) -> float:
        with daemon.connect() as client:
            return each(client, message, count)

    return load


def each(client: Client, message: bytes, count: int) -> float:
    """`count` times the same request, one at a time."""
    ask = client.ask
    start = time.perf_counter()
    for _ in range(count):
        ask(message)
    return (time.perf_counter() - start) / count


def sixteen(message: bytes, count: int) -> Load:
    """Sixteen connections that each have one request under way."""

    def load(daemon: Daemon) -> float:
        with ExitStack() as stack:
            clients = [stack.enter_context(daemon.connect()) for _ in range(CONNECTIONS)]
            turns = count // CONNECTIONS
            start = time.perf_counter()
            for _ in range(turns):
                for client in clients:
                    client.socket.sendall(message)
                for client in clients:
                    client.answer(message[0])
            return (time.perf_counter() - start) / (turns * CONNECTIONS)

    return load


def transaction(count: int) -> Load:
    """Start, read, write, read, end: five round trips."""

    def load(daemon: Daemon) -> float:
        with daemon.connect() as client:
            ask = client.ask
            start = time.perf_counter()
            for _ in range(count):
                tx = int(ask(START)[16:-1])
                ask(request(xs_wire.XS_READ, NODE, tx=tx))
                ask(request(xs_wire.XS_WRITE, NODE, "other", tx=tx))
                ask(request(xs_wire.XS_READ, NODE, tx=tx))
                ask(request(xs_wire.XS_TRANSACTION_END, "T", tx=tx))
            return (time.perf_counter() - start) / count

    return load


def watch_event(count: int) -> Load:
    """One connection writes, another hears of it."""

    def load(daemon: Daemon) -> float:
        with daemon.connect() as writer, daemon.connect() as watcher:
            watcher.socket.sendall(request(xs_wire.XS_WATCH, NODE, "token"))
            seen = b""
            while seen.count(b"token\0") < 1:  # the reply, and the event of the registration
                seen += watcher.socket.recv(4096)
            start = time.perf_counter()
            for _ in range(count):
                writer.socket.sendall(WRITE)
                watcher.answer(xs_wire.XS_WATCH_EVENT)
                writer.answer(xs_wire.XS_WRITE)
            return (time.perf_counter() - start) / count

    return load


def connect_and_read(count: int) -> Load:
    """A new connection for each request, beside 200 idle ones: what a shell script does."""

    def load(daemon: Daemon) -> float:
        with ExitStack() as stack:
            _idle(stack, daemon)
            start = time.perf_counter()
            for _ in range(count):
                with daemon.connect() as client:
                    client.ask(READ)
            return (time.perf_counter() - start) / count

    return load


def beside_idle(count: int) -> Load:
    """One active connection beside 200 idle ones."""

    def load(daemon: Daemon) -> float:
        with ExitStack() as stack, daemon.connect() as client:
            _idle(stack, daemon)
            return each(client, READ, count)

    return load


def scattered_reads(paths: Sequence[str], count: int) -> Load:
    """Reads of the nodes at `paths`, in their order, over and over."""
    messages = [request(xs_wire.XS_READ, path) for path in paths]

    def load(daemon: Daemon) -> float:
        turns = count // len(messages)
        with daemon.connect() as client:
            ask = client.ask
            start = time.perf_counter()
            for _ in range(turns):
                for message in messages:
                    ask(message)
            return (time.perf_counter() - start) / (turns * len(messages))

    return load


def cpu(load: Load, count: int) -> Load:
    """The daemon's processor time per operation of a load of `count` operations."""

    def measured(daemon: Daemon) -> float:
        before = daemon.cpu()
        load(daemon)
        return (daemon.cpu() - before) / count

    return measured


def _idle(stack: ExitStack, daemon: Daemon) -> None:
    """Connect 200 clients that do nothing more, once the daemon has accepted each."""
    for _ in range(IDLE):
        stack.enter_context(daemon.connect()).ask(READ)
