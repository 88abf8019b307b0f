"""From two descriptors to a running program, and from its end to the domain's.

``run`` is what the spawner calls in a new process, after the walls are up.  Every end of a program
has its reason for the hypervisor.

    main returns                    devices close (F = 5, 6), SCHEDOP_shutdown(poweroff), or
                                    (reboot) when control/shutdown asked for that
    main raises                     traceback to console and dmesg, SCHEDOP_shutdown(crash)
    the program cannot be loaded    what is missing and where, SCHEDOP_shutdown(crash)
    the process is killed           the hypervisor makes it a crash

A process that is not the domain's main one (dom0 consists of several) only ends: exit status 0, or
1 after an exception.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final, NoReturn

from hvsim.abi.hypercall import HYPERVISOR_sched_op
from hvsim.abi.sched import (
    SCHEDOP_shutdown,
    SHUTDOWN_crash,
    SHUTDOWN_poweroff,
    SHUTDOWN_reboot,
)
from hvsim.domain import declared, nmi
from hvsim.domain.domain import Domain
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.loading import Program, ProgramError, load_program
from hvsim.errors import TimedOut
from hvsim.speak import note
from hvsim.wire.spawn import Spawn
from hvsim.xs.client import StoreError

if TYPE_CHECKING:
    from hvsim.domain.injection import Injection

CONSOLE_DRAIN_STEP: Final = 1.0
CONSOLE_DRAIN_TIMEOUT: Final = 10.0
"""Seconds that an ending domain waits for a console daemon to take something of its last words, and
for one that takes them slowly."""

_REASONS: Final = {"reboot": SHUTDOWN_reboot, "crash": SHUTDOWN_crash}


def is_main(spec: Spawn) -> bool:
    """Whether a process speaks for its domain: its end is the domain's end.

    ``main`` of the message decides; without it, every process but the further ones of dom0 does.
    """
    if spec.main is not None:
        return spec.main
    return not spec.trusted or spec.process in ("", "main", "kernel")


def run(conn_fd: int, upcall_fd: int, spec: Spawn) -> NoReturn:
    """Run the program of *spec* as (a process of) a domain.

    Raises: SystemExit with the exit status of the process, always.
    """
    raise SystemExit(_run(conn_fd, upcall_fd, spec))


def _run(conn_fd: int, upcall_fd: int, spec: Spawn) -> int:
    main = is_main(spec)
    console = spec.console if spec.console is not None else main and not spec.trusted
    try:
        domain = Domain.attach(conn_fd, upcall_fd, spec, store=False, console=console)
    except Exception:  # nothing to report it with but the process's own output
        note(traceback.format_exc())
        return 1
    if main and domain.domid != 0:
        nmi.listen(domain)
    try:
        program = _prepare(domain, main)
        program(domain)
    except SystemExit as leave:
        if leave.code not in (None, 0):
            return _crash(domain, main, f"the program left with status {leave.code}")
    except ProgramError as error:
        return _crash(domain, main, str(error))
    except BaseException as failure:  # the domain's end, whatever it is
        return _crash(domain, main, "".join(traceback.format_exception(failure)))
    return _finish(domain, main)


def _prepare(domain: Domain, main: bool) -> Program:
    """What a kernel does before its first program: store, buses, health "starting"."""
    if main if domain.spec.store is None else domain.spec.store:
        domain.connect_store()
    if main and domain.has_store:
        _ = domain.backends, domain.frontends
        if domain.domid != 0:
            domain.starting()
    follow_faults(domain)
    if main and domain.spec.net and domain.domid != 0:
        load_program(domain.spec.net)(domain)
    if main and domain.has_store and domain.spec.drivers is not None:
        declared.register(domain, domain.spec.drivers)
    return load_program(domain.spec.program)


def follow_faults(domain: Domain) -> None:
    """Put rules of faults in place that are about this process, now and whenever they change.

    Part of the start of every process, after its store and its buses."""
    standing: list[Injection] = []

    def changed() -> None:
        from hvsim.domain.injection import Injection  # for who has any

        domain.events.faults_changed = False
        if not standing:
            standing.append(Injection(domain))
        standing[0].refresh()

    domain.events.on_faults = changed
    if domain.events.faults_changed:
        changed()


def _finish(domain: Domain, main: bool) -> int:
    """The orderly end: devices first, then the console's last words, then the domain."""
    if not main:
        return 0
    try:
        if domain.has_store:
            domain.frontends.close_all()
    except (StoreError, TimedOut) as error:
        domain.log(f"closing devices: {error}")
    except BaseException as failure:  # still the domain's end, but no longer an orderly one
        return _crash(domain, main, "".join(traceback.format_exception(failure)))
    _drain_console(domain)
    _shutdown(domain, _REASONS.get(domain.shutdown_requested or "poweroff", SHUTDOWN_poweroff))
    return 0


def _crash(domain: Domain, main: bool, text: str) -> int:
    """Report why, then end the domain as crashed.  Devices stay as they are, as in Xen."""
    domain.log(text.rstrip())
    if main:
        last = text.rstrip().rsplit("\n", 1)[-1]
        domain.dmesg(f"{domain.spec.program}: {last}")
        _drain_console(domain)
        _shutdown(domain, SHUTDOWN_crash)
    return 1


def _drain_console(domain: Domain) -> None:
    if not domain.has_console:
        return
    console, vcpu = domain.console, domain.vcpu
    now = vcpu.now()
    end, give_up, left = now + CONSOLE_DRAIN_TIMEOUT, now + CONSOLE_DRAIN_STEP, console.unsent
    while console.unsent and not console.broken and now < min(end, give_up):
        vcpu.block(min(end, give_up) - now, port=console.port)
        console.poll()
        now = vcpu.now()
        if console.unsent < left:
            left, give_up = console.unsent, now + CONSOLE_DRAIN_STEP


def _shutdown(domain: Domain, reason: int) -> None:
    try:
        domain.hypercall.call(HYPERVISOR_sched_op, SCHEDOP_shutdown, reason)
    except HypercallError as error:
        domain.log(f"cannot shut down: {error}")
