"""One listening socket for each domain, so that unmodified tools can act as that domain.

``<run>/xenstored/d<domid>`` beside the tools' own socket: what connects there has the domid, the
home directory, the rights and the quotas of the domain, as if it were a program inside of it that
uses /dev/xen/xenbus.  A door opens when the domain is introduced and goes, with everybody behind
it, when the domain goes, so that nobody is left talking for the next owner of a domid.

Who may open one is decided by the peer's credentials (``server.may_connect``): the lab's owner and
root, from outside of the domains.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from hvsim.xenstore.daemon.client import Loop
from hvsim.xenstore.daemon.connection import Tracer
from hvsim.xenstore.daemon.live_update import ServerState
from hvsim.xenstore.daemon.server import SocketServer
from hvsim.xenstore.rules.store import Store
from hvsim.xs.sockets import door_path

_NAME: Final = re.compile(r"d[0-9]{1,5}")


class Doors:
    """The sockets of all domains but dom0.

    Args:
        socket_path: the tools' socket; the doors stand in the same directory.
        log: told of a door that cannot be opened; the domain lives without it.
        inherited: what a former program handed over.
    """

    def __init__(
        self,
        socket_path: str,
        store: Store,
        loop: Loop,
        tracer: Tracer | None,
        log: Callable[[str], None],
        inherited: Iterable[ServerState] = (),
    ) -> None:
        self._inherited = {state.domid: state for state in inherited}
        self._socket_path = Path(socket_path)
        self._store = store
        self._loop = loop
        self._tracer = tracer
        self._log = log
        self._servers: dict[int, SocketServer] = {}
        self._remove_left_over()

    def open(self, domid: int) -> None:
        """Listen for clients that act as *domid*.  Idempotent."""
        if domid in self._servers:
            return
        path = door_path(self._socket_path, domid)
        try:
            self._servers[domid] = SocketServer(
                str(path),
                self._store,
                self._loop,
                self._tracer,
                self._log,
                domid,
                self._inherited.pop(domid, None),
            )
        except OSError as error:
            self._log(f"no socket for d{domid}: {path}: {error.strerror}")

    def close(self, domid: int) -> None:
        """Disconnect everybody who acts as *domid* and remove the socket.  Idempotent."""
        server = self._servers.pop(domid, None)
        if server is not None:
            server.close()

    def dump_state(self) -> list[ServerState]:
        """What a new program needs of every door; see ``SocketServer.dump_state``."""
        return [server.dump_state() for server in self._servers.values()]

    def close_all(self) -> None:
        """Close every door."""
        for domid in list(self._servers):
            self.close(domid)

    def _remove_left_over(self) -> None:
        """A daemon that was killed has left its sockets behind."""
        with contextlib.suppress(FileNotFoundError):
            for path in self._socket_path.parent.iterdir():
                ours = _NAME.fullmatch(path.name) and int(path.name[1:]) not in self._inherited
                if ours and path.is_socket():
                    path.unlink(missing_ok=True)
