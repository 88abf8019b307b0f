"""A driver domain that was made again, and did not get all of its frontends at once."""

from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from hvsim.toolstack.domain import recovery
from hvsim.xs.errors import StoreError


def test_what_was_made_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen red: each further attempt failed, as the name was taken by what the first had made, and
    the frontends waited for the dead one for good."""
    guests: dict[int, Any] = {}
    made: list[Any] = []
    sent: list[int] = []

    async def create(*args: Any, **more: Any) -> Any:
        if any(one.name == "storage" for one in guests.values()):
            raise AssertionError('Domain with name "storage" already exists.')
        made.append(life(4, replaces=1))
        guests[4] = made[-1]
        return made[-1]

    async def hand_over(toolstack: Any, served: Any, guest: Any) -> None:
        sent.append(guest.domid)
        if len(sent) == 1:
            raise StoreError(28, "WRITE", "/local/domain/4/backend")

    async def nothing(*args: Any) -> None:
        pass

    for name, stand_in in {"create": create, "hand_over": hand_over, "refresh": nothing}.items():
        monkeypatch.setattr(recovery, name, stand_in)
    monkeypatch.setattr(recovery, "served_by", lambda toolstack, domid: iter(()))
    toolstack: Any = SimpleNamespace(
        guests=guests,
        stopping=False,
        store=no_store,
        hypervisor=SimpleNamespace(info=lambda domid: None),
        notes=SimpleNamespace(drop=lambda *args: None),
        keep=lambda guest: None,
        notice=lambda: None,
    )
    dead = life(1)
    with pytest.raises(StoreError):
        anyio.run(recovery.rebuild, toolstack, dead)
    guest = anyio.run(recovery.rebuild, toolstack, dead)
    assert (guest, sent, len(made)) == (made[0], [4, 4], 1)
    assert made[0].replaces is None


def life(domid: int, replaces: int | None = None) -> Any:
    return SimpleNamespace(
        domid=domid, name="storage", uuid="u", request=None, stage="built", replaces=replaces
    )


@asynccontextmanager
async def no_store() -> Any:
    yield None
