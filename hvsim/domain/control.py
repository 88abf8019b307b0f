"""What the toolstack asks of a running domain: ``control/shutdown`` and ``control/sysrq``.

Source: drivers/xen/manage.c of Linux.  Reading a request and acknowledging it with "" is one
transaction, so that no request is overwritten unseen.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Final, Protocol

from hvsim.abi.hypercall import HYPERVISOR_sched_op
from hvsim.abi.sched import (
    SCHEDOP_shutdown,
    SHUTDOWN_crash,
    SHUTDOWN_poweroff,
    SHUTDOWN_reboot,
)
from hvsim.domain.hypercall import HypercallError, Hypercalls
from hvsim.xs import requests
from hvsim.xs.client import StoreClient, StoreError, StoreNotFound, Transaction

SHUTDOWN_COMMANDS: Final = ("poweroff", "halt", "reboot")
"""What this runtime does when ``control/shutdown`` asks for it."""
ACKNOWLEDGED: Final = (*SHUTDOWN_COMMANDS, "suspend")
"""Other words are left unanswered, as a Linux guest leaves those that it has no handler for."""
_ENDS: Final = {"b": SHUTDOWN_reboot, "o": SHUTDOWN_poweroff, "c": SHUTDOWN_crash}
_HELP: Final = "sysrq: HELP : reboot(b) crash(c) poweroff(o) show-task-states(t)"


class Asked(Protocol):
    """The domain that is asked."""

    @property
    def domid(self) -> int:
        """Its number."""

    @property
    def hypercall(self) -> Hypercalls:
        """To end it at once."""

    @property
    def store(self) -> StoreClient:
        """Where it is asked."""

    def log(self, text: str) -> None:
        """Say what was not done."""

    def request_shutdown(self, command: str) -> None:
        """Remember that it is to end, and how."""


def listen(domain: Asked) -> None:
    """Listen to the two nodes, and say which words this domain acts upon.

    Raises: StoreError.
    """
    domain.store.watch("control/shutdown", lambda _: _shutdown(domain))
    domain.store.watch("control/sysrq", lambda _: _sysrq(domain))
    if domain.domid != 0:
        _say_features(domain)


def _say_features(domain: Asked) -> None:
    said = domain.store.pipeline(
        [requests.write(f"control/feature-{word}", "1") for word in ("poweroff", "reboot")]
    )
    for result in said:
        if isinstance(result, StoreError):
            domain.log(f"cannot tell the toolstack what this domain can do: {result}")


def _asked(store: StoreClient, node: str) -> str:
    try:
        return store.read(node)
    except StoreNotFound:
        return ""


def _take(store: StoreClient, node: str, known: Callable[[str], bool]) -> str:
    """What *node* asks for; acknowledged when it is *known*.  Raises: StoreError."""

    if not _asked(store, node):
        return ""  # as at the start, and after each answer: a word that comes later is told of anew

    def take(tx: Transaction) -> str:
        try:
            asked = tx.read(node)
        except StoreNotFound:
            return ""
        if known(asked):
            tx.write(node, "")
        return asked

    return store.transaction(take, node)


def _shutdown(domain: Asked) -> None:
    """``control/shutdown`` was written: acknowledge it and remember the request."""
    try:
        command = _take(domain.store, "control/shutdown", ACKNOWLEDGED.__contains__)
    except StoreError as error:
        domain.log(f"cannot acknowledge control/shutdown: {error}")
        return
    if command in SHUTDOWN_COMMANDS:
        domain.request_shutdown(command)
    elif command in ACKNOWLEDGED:
        domain.log(f"cannot {command}: the memory of a process is not kept; going on")
    elif command:
        domain.log(f"Ignoring shutdown request: {command}")


def _sysrq(domain: Asked) -> None:
    """``control/sysrq`` was written: acknowledge it and do what its letter stands for."""
    try:
        asked = _take(domain.store, "control/sysrq", bool)
    except StoreError as error:
        domain.log(f"cannot acknowledge control/sysrq: {error}")
        return
    letter = asked[:1]
    if letter in _ENDS:
        domain.log(f"sysrq: {'Trigger a crash' if letter == 'c' else 'Resetting'}")
        try:
            domain.hypercall.call(HYPERVISOR_sched_op, SCHEDOP_shutdown, _ENDS[letter])
        except HypercallError as error:
            domain.log(f"cannot shut down: {error}")
    elif letter == "t":
        domain.log("sysrq: Show State")
        for line in traceback.format_stack()[:-1]:
            domain.log(line.rstrip())
    elif letter:
        domain.log(_HELP)
