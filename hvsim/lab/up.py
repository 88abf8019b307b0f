"""A lab file becomes a running lab; or nothing is left of the attempt."""

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hvsim.lab import cgroups, shortages, undo
from hvsim.lab.answers import Answer
from hvsim.lab.boot import boot_config
from hvsim.lab.builtin import BUILTIN
from hvsim.lab.burial import Gather
from hvsim.lab.check.lockstep import refuse
from hvsim.lab.claim import claim
from hvsim.lab.control import Control
from hvsim.lab.devices import of_domain
from hvsim.lab.images import make_images
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.launch import Child, Start, as_program, launch
from hvsim.lab.model import Domain, Lab
from hvsim.lab.processes import family
from hvsim.lab.progress import Progress
from hvsim.lab.readiness import expect, wait_ready
from hvsim.lab.real_daemons import find, prepare
from hvsim.lab.rundir import RunDir, base_dir
from hvsim.lab.silence import GRACE
from hvsim.lab.store import open_store
from hvsim.lab.teardown import take_down
from hvsim.lab.undo import NotStarted, UpError
from hvsim.wire.boot import Lockstep
from hvsim.wire.control import Ps, Xl
from hvsim.wire.lab_requests import Create, File, Ready, Started
from hvsim.xs.blocking import SocketStore

TOOLSTACK_TIMEOUT = 20.0
"""Seconds for the toolstack daemon to serve, and for each domain to be built."""


@dataclass(slots=True)
class Running:
    """A lab that has come up."""

    lab: Lab
    run: RunDir
    seconds: float
    domids: dict[str, int] = field(default_factory=dict)
    walls: dict[str, list[str]] = field(default_factory=dict)
    """Domain -> the walls that this machine does not allow it; only those that lack some."""
    _process: Child | None = None

    def control(self) -> Control:
        """A conversation with its toolstack."""
        return Control(self.run.control, alive=lambda: self.run.running, waits=self.run.waits())

    def store(self, label: str = "LAB") -> SocketStore:
        """A connection to its store."""
        return open_store(self.run, label, grace=GRACE)

    def down(self, *, now: bool = False, say: Callable[[str], None] = lambda _: None) -> None:
        """End it: see `take_down`."""
        take_down(self.run, now=now, say=say)
        if self._process is not None:
            self._process.wait()


def bring_up(
    lab: Lab,
    *,
    say: Callable[[str], None] = lambda _: None,
    wait: bool = True,
    timeout: float = math.inf,
    leave: bool = False,
    gather: Gather,
    before_run: Callable[[RunDir, bool], None] | None = None,
    lockstep: Lockstep | None = None,
    start: Start = as_program,
) -> Running:
    """Start `lab` and return when it is ready.

    Whatever goes wrong, or comes between (Ctrl-C), ends and removes what was started before the
    exception goes on.

    Args:
        wait: for devices and guests; else only until every domain's program runs.
        timeout: seconds in which all of it must be ready.
        leave: a lab that fails as it is, for whoever wants to look; not after Ctrl-C.
        before_run: called for each domain when it is there and has not run yet, with whether it is
            the last one.
        lockstep: how its processes take turns; None: all at once.
        start: starts its hypervisor (`warm_start` and `nursery` fork it).
        gather: what can be told of a lab that failed (``hvsim.observe.evidence``).

    Raises LabFileError (something of it cannot be in lockstep), LabRunning, RunDirError and
    Shortage before anything is started; UpError for everything
    later: a part that does not start, a domain that cannot be built or ends too early, a device
    that does not connect. Its text has the ends of the logs, and in its last line the post-mortem.
    """
    if lockstep is not None:
        refuse(lab)
    begun = time.monotonic()
    base = base_dir()
    undo.bury(RunDir(base / lab.name), gather, say)
    shortages.check(lab, base)
    run = claim(lab.name, str(lab.file), base)
    with undo.undone(run, gather, leave) as started:
        run.write(store=lab.store, console=lab.console, lockstep=lockstep is not None)
        make_images(lab, run)
        prepare(lab, run)
        groups = cgroups.make(run.name, lambda paths: run.write(cgroups=paths))
        process = launch(run, boot_config(lab, run, groups, lockstep), start)
        started.append(process)
        domids: dict[str, int] = {}
        progress = Progress()
        listed: list[dict[str, Any]] = []
        with Control(run.control, alive=lambda: run.running, waits=run.waits()) as control:
            control.data(Ready(), patience=TOOLSTACK_TIMEOUT)
            say(
                f"dom0: hypervisor, {_named('xenstored', lab.store)}, kernel, "
                f"{_named('xenconsoled', lab.console)}, toolstack (pid {process.pid}, {run.path})"
            )
            inquiry = Inquiry(run)
            with open_store(run, "LAB", patience=0.0, grace=GRACE) as store:
                began = store.transport.waits.now()
                order = lab.creation_order
                for domain in order:
                    domid = create_domain(control, lab, run, domain, before_run is not None)
                    domids[domain.name] = domid
                    say(f"{domain.name}: created, domid {domid}")
                    expect(store, progress, domain.name, domid)
                    if before_run is not None:
                        before_run(run, domain is order[-1])
                        answer = control.request(Xl(["unpause", domain.name]))
                        _check(answer, f"domain {domain.name!r} could not be started")
                answer = control.request(Started(), patience=TOOLSTACK_TIMEOUT)
                _check(answer, "the domains could not be started")
                if wait:
                    wait_ready(
                        store,
                        progress,
                        say=say,
                        inquiry=inquiry,
                        ended=lambda: _ended(inquiry, _list(control, listed), domids),
                        deadline=began + timeout,
                    )
            walls = _walls(listed or _list(control, listed))
        hypervisor = run.hypervisor
        run.write(
            state="running",
            launcher=None,
            domains=domids,
            processes=[one.record() for one in family(hypervisor)] if hypervisor else [],
        )
    return Running(lab, run, time.monotonic() - begun, domids, walls, process)


def _named(role: str, program: str) -> str:
    """A process of dom0 for the reader: what it is, and which program when it is not ours."""
    return role if program == BUILTIN else f"{role} ({find(program)})"


def create_request(lab: Lab, run: RunDir, domain: Domain, paused: bool = False) -> Create:
    """What the toolstack is asked for `domain`."""
    images = lab.image_paths(run.images)
    files = list(domain.files)
    if domain.is_driver:
        files += [(path, "rw") for path in images.values()]
        files += _served(lab, domain, images)
    return Create(
        config=domain.config,
        config_path=domain.config_path,
        directory=str(domain.directory),
        overrides=[*domain.overrides, *(["driver_domain = 1"] if domain.is_driver else [])],
        images=images,
        program=domain.program,
        args={"seed": lab.seed, "hosts": lab.hosts, **domain.args},
        profile=domain.role,
        files=files,
        path=list(dict.fromkeys([str(lab.file.parent), str(domain.directory)])),
        restart=domain.restart,
        walls=domain.walls,
        paused=paused,
        devices=list(of_domain(lab.devices, domain.name)),
        serves=sorted({one.type for one in lab.devices if one.served_by == domain.name}),
    )


def _served(lab: Lab, driver: Domain, images: dict[str, str]) -> Iterator[File]:
    """The undeclared images that `driver` serves: its process may open nothing else."""
    for guest in lab.domains:
        for disk in guest.disks:
            if disk.backend == driver.name and disk.target and disk.target not in images:
                # By the name that the backend is told, whatever links are on its way.
                path = os.path.abspath(guest.directory / disk.target)
                yield path, "r" if disk.readonly else "rw"


def create_domain(
    control: Control, lab: Lab, run: RunDir, domain: Domain, paused: bool = False
) -> int:
    """Make a domain of *lab*, and let it run unless it is to stay *paused*; its number.

    Raises: UpError; ControlError.
    """
    answer = control.request(create_request(lab, run, domain, paused), patience=TOOLSTACK_TIMEOUT)
    _check(answer, f"domain {domain.name!r} could not be created")
    return int(answer.data["domid"])


def _list(control: Control, listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The domains as `ps` lists them, kept in *listed*."""
    listed[:] = (control.data(Ps()) or {}).get("domains", [])
    return listed


def _walls(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {str(row.get("name")): list(row["walls"]) for row in rows if row.get("walls")}


def _check(answer: Answer, failed: str) -> None:
    """Raises: NotStarted: a domain of the lab could not be started; one sentence says why.
    UpError: whatever else the request failed with, behind *failed*."""
    if not answer.exit:
        return
    if isinstance(answer.data, dict) and "not_started" in answer.data:
        raise NotStarted(str(answer.data["not_started"]))
    first, *more = answer.errors or [f"exit code {answer.exit}"]
    raise UpError(f"{failed}: {first}", *more)


def _ended(inquiry: Inquiry, rows: list[dict[str, Any]], domids: dict[str, int]) -> dict[int, str]:
    """Those of `domids` that are gone or shut down, and why."""
    listed = {row.get("domid"): row for row in rows}
    found = {}
    for domid in domids.values():
        row = listed.get(domid)
        if row is None:
            found[domid] = "ended before it was ready"
        elif "c" in str(row.get("state", "")):
            found[domid] = "crashed before it was ready"
        elif "s" in str(row.get("state", "")):
            found[domid] = "shut itself down before it was ready"
        else:
            continue
        if words := inquiry.last_words(domid):
            found[domid] += f": {words}"
    return found
