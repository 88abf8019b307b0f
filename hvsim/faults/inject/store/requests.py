"""A request of the store is refused: with any error that an answer can have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from hvsim.abi import xs_wire
from hvsim.domain.seams import STORE_OPERATIONS
from hvsim.faults.inject.store.who import Below, Who
from hvsim.xenstore.rules.errors import Refused

if TYPE_CHECKING:
    from hvsim.domain.injection import Fault
    from hvsim.xenstore.operations.table import Operation
    from hvsim.xenstore.rules.session import Session
    from hvsim.xenstore.rules.store import Operations, Store
    from hvsim.xenstore.rules.transaction import Transaction

_OPS: Final = {
    "read": (xs_wire.XS_READ,),
    "write": (xs_wire.XS_WRITE,),
    "mkdir": (xs_wire.XS_MKDIR,),
    "rm": (xs_wire.XS_RM,),
    "directory": (xs_wire.XS_DIRECTORY, xs_wire.XS_DIRECTORY_PART),
    "permissions": (xs_wire.XS_GET_PERMS, xs_wire.XS_SET_PERMS),
    "watch": (xs_wire.XS_WATCH, xs_wire.XS_UNWATCH, xs_wire.XS_RESET_WATCHES),
    "transaction": (xs_wire.XS_TRANSACTION_START, xs_wire.XS_TRANSACTION_END),
    "commit": (xs_wire.XS_TRANSACTION_END,),
    "domain": (
        xs_wire.XS_INTRODUCE,
        xs_wire.XS_RELEASE,
        xs_wire.XS_RESUME,
        xs_wire.XS_SET_TARGET,
        xs_wire.XS_GET_DOMAIN_PATH,
        xs_wire.XS_IS_DOMAIN_INTRODUCED,
    ),
    "control": (xs_wire.XS_CONTROL,),
}
_NAMES_A_NODE: Final = frozenset(
    {
        *(xs_wire.XS_READ, xs_wire.XS_WRITE, xs_wire.XS_MKDIR, xs_wire.XS_RM),
        *(xs_wire.XS_DIRECTORY, xs_wire.XS_DIRECTORY_PART, xs_wire.XS_GET_PERMS),
        *(xs_wire.XS_SET_PERMS, xs_wire.XS_WATCH, xs_wire.XS_UNWATCH),
    }
)


def stand(fault: Fault) -> Callable[[], None]:
    """Put *fault* between the requests that it is about and the store."""
    return fault.domain.seams.insert(STORE_OPERATIONS, Refusal(fault))


class Refusal:
    """Refuses requests."""

    def __init__(self, fault: Fault) -> None:
        settings = fault.settings
        self._fault = fault
        self._error = str(settings["request"])
        self._op = settings.get("op")
        self._below = Below(settings["path"]) if "path" in settings else None
        self._who = Who(settings["domain"]) if "domain" in settings else None

    def __call__(self, operations: Operations, store: Store) -> Operations:
        """The operations of a store of which some are refused."""
        types = tuple(operations) if self._op is None else _OPS[self._op]
        if self._below is not None:
            types = tuple(type for type in types if type in _NAMES_A_NODE)
        broken = {type: partial(self._answer, type, operations[type]) for type in types}
        return {**operations, **broken}

    def _answer(
        self,
        type: int,
        operation: Operation,
        session: Session,
        payload: bytes,
        tx: Transaction | None,
    ) -> bytes:
        if not self._is_about(session, payload) or not self._fault.fires():
            return operation(session, payload, tx)
        if type == xs_wire.XS_TRANSACTION_END and tx is not None:
            session.drop(tx)  # however it ends, it is over
        node = ""
        if type in _NAMES_A_NODE:
            node = " " + payload.partition(b"\0")[0][:100].decode("ascii", "backslashreplace")
        name = session.label or session.name
        self._fault.told(f"{name}: {xs_wire.TYPE_NAMES[type]}{node}: {self._error}")
        raise Refused(xs_wire.ERROR_NUMBERS[self._error])

    def _is_about(self, session: Session, payload: bytes) -> bool:
        domid = session.domid
        if self._who is not None and not self._who.is_(session.store, domid):
            return False
        if self._op == "commit" and payload != b"T\0":
            return False
        if self._below is None:
            return True
        path = payload.partition(b"\0")[0]
        if path[:1] != b"@":
            try:
                path = session.canonical(path)
            except Refused:
                return False
        return self._below.has(path, domid)
