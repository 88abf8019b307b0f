"""Which socket acts as which domain: for ``hvsim env --as`` and programs that do the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hvsim.xs.blocking import PATIENCE, connect
from hvsim.xs.requests import StoreNotFound
from hvsim.xs.sockets import door_path


class NoSuchDomain(LookupError):
    """No domain of that name or number has a connection to the store."""


def socket_of(
    tools: Path, who: str, on_silence: Callable[[float], str] = lambda seconds: ""
) -> Path:
    """The socket whose clients act as the domain *who* (name or domid).

    Args:
        tools: the socket of the lab's tools, which is that of dom0.
        on_silence: see ``SocketTransport``.

    Raises: NoSuchDomain; OSError when there is no store.
    """
    with connect(str(tools), "CLI", patience=PATIENCE) as store:
        store.transport.on_silence = on_silence
        try:
            domids = store.directory("/local/domain")
        except StoreNotFound:
            domids = []
        names = store.read_many([f"/local/domain/{domid}/name" for domid in domids])
    for domid, name in zip(domids, names, strict=True):
        if who in (name, domid):
            path = tools if domid == "0" else door_path(tools, int(domid))
            if path.exists():
                return path
    known = ", ".join(sorted(name for name in names if name))
    raise NoSuchDomain(f"no domain {who!r} (there are: {known})")
