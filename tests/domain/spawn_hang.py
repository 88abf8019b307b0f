"""An entry whose children never finish their sandbox, as on a dead network mount."""

import time
from typing import NoReturn

from hvsim.spawn import child as spawn_child
from hvsim.wire.spawn import Spawn


def _hang(*_args: object, **_more: object) -> NoReturn:
    while True:
        time.sleep(3600)


spawn_child.become_domain = _hang


def run(_conn_fd: int, _upcall_fd: int, _spec: Spawn) -> None:
    """Never reached."""
    raise AssertionError
