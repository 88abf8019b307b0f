"""A lab file becomes a running lab; or nothing is left of the attempt."""

import contextlib
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hvsim import shortage
from hvsim.lab import cgroups, logs, postmortem, shortages
from hvsim.lab.boot import boot_config
from hvsim.lab.builtin import BUILTIN
from hvsim.lab.claim import claim
from hvsim.lab.control import Answer, Control
from hvsim.lab.images import make_images
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.launch import launch
from hvsim.lab.model import Domain, Lab
from hvsim.lab.problems import HvsimError
from hvsim.lab.processes import family
from hvsim.lab.progress import Progress
from hvsim.lab.readiness import expect, wait_ready
from hvsim.lab.real_daemons import find, prepare
from hvsim.lab.rundir import RunDir, base_dir
from hvsim.lab.silence import GRACE
from hvsim.lab.store import open_store
from hvsim.lab.teardown import take_down
from hvsim.toolstack.host.trouble import full_disk
from hvsim.xs.blocking import SocketStore
from hvsim.xs.requests import StoreError

TOOLSTACK_TIMEOUT = 20.0
"""Seconds for the toolstack daemon to serve, and for each domain to be built."""


class UpError(HvsimError):
    """A domain could not be created, or the lab did not become ready."""


class NotStarted(UpError):
    """A domain does not start on this machine.  The text is one sentence with the remedy; no log
    knows more."""


@dataclass(slots=True)
class Running:
    """A lab that has come up."""

    lab: Lab
    run: RunDir
    seconds: float
    domids: dict[str, int] = field(default_factory=dict)
    walls: dict[str, list[str]] = field(default_factory=dict)
    """Domain -> the walls that this machine does not allow it; only those that lack some."""
    _process: "subprocess.Popen[bytes] | None" = None

    def control(self) -> Control:
        """A conversation with its toolstack."""
        return Control(self.run.control, alive=lambda: self.run.running)

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
) -> Running:
    """Start `lab` and return when it is ready.

    Whatever goes wrong, or comes between (Ctrl-C), ends and removes what was started before the
    exception goes on.

    Args:
        wait: for devices and guests; else only until every domain's program runs.
        timeout: seconds in which all of it must be ready.
        leave: a lab that fails as it is, for whoever wants to look; not after Ctrl-C.

    Raises LabRunning, RunDirError and Shortage before anything is started; UpError for everything
    later: a part that does not start, a domain that cannot be built or ends too early, a device
    that does not connect. Its text has the ends of the logs, and in its last line the post-mortem.
    """
    begun = time.monotonic()
    base = base_dir()
    _bury(RunDir(base / lab.name), say)
    shortages.check(lab, base)
    run = claim(lab.name, str(lab.file), base)
    with _undone(run, leave) as started:
        run.write(store=lab.store, console=lab.console)
        make_images(lab, run)
        prepare(lab, run)
        groups = cgroups.make(run.name, lambda paths: run.write(cgroups=paths))
        process = launch(run, {**boot_config(lab, run), "cgroups": groups})
        started.append(process)
        domids: dict[str, int] = {}
        progress = Progress()
        with Control(run.control, alive=lambda: run.running) as control:
            control.data("ready", patience=TOOLSTACK_TIMEOUT)
            say(
                f"dom0: hypervisor, {_named('xenstored', lab.store)}, kernel, "
                f"{_named('xenconsoled', lab.console)}, toolstack (pid {process.pid}, {run.path})"
            )
            inquiry = Inquiry(run)
            with open_store(run, "LAB", patience=0.0, grace=GRACE) as store:
                for domain in lab.creation_order:
                    domid = _create(control, lab, run, domain)
                    domids[domain.name] = domid
                    say(f"{domain.name}: created, domid {domid}")
                    expect(store, progress, domain.name, domid)
                answer = control.request("started", patience=TOOLSTACK_TIMEOUT)
                _check(answer, "the domains could not be started")
                if wait:
                    wait_ready(
                        store,
                        progress,
                        say=say,
                        inquiry=inquiry,
                        ended=lambda: _ended(inquiry, control, domids),
                        deadline=begun + timeout,
                    )
            walls = _walls(control)
        hypervisor = run.hypervisor
        run.write(
            state="running",
            launcher=None,
            domains=domids,
            processes=[one.record() for one in family(hypervisor)] if hypervisor else [],
        )
    return Running(lab, run, time.monotonic() - begun, domids, walls, process)


def _bury(run: RunDir, say: Callable[[str], None]) -> None:
    """What is left of a lab of that name that has died is about to be cleared away: keep what it
    tells."""
    if run.path.is_dir():
        from hvsim.observe import autopsy

        autopsy.bury(run, say)


@contextlib.contextmanager
def _undone(run: RunDir, leave: bool) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """On any exception keep the evidence, then end and remove the lab, whole, even when Ctrl-C
    comes twice; with *leave* it stays as it is.

    Children of ours belong into the list that this yields: they are waited for then.
    """
    started: list[subprocess.Popen[bytes]] = []
    try:
        yield started
    except BaseException as error:
        # Of Ctrl-C and of faults of ours the logs say nothing.
        if not isinstance(error, HvsimError | StoreError | OSError):
            _remove(run, started)
            raise
        lines = list(error.lines) if isinstance(error, HvsimError) else [_words(error)]
        if (full := full_disk(run.path)) and not any(full in line for line in lines):
            lines.insert(0, full)
        try:
            tail = [] if isinstance(error, NotStarted) else _logs(run)
            evidence = _gather(run)
        except BaseException:
            _remove(run, started)
            raise
        if leave:
            with contextlib.suppress(OSError):  # the disk may be full
                run.write(state="failed", launcher=None)
            tail.append(
                f"the lab is left as it is: `hvsim --lab {run.name} ps` looks at it, `hvsim down "
                f"{run.name}` ends it"
            )
        else:
            _remove(run, started)
        raise UpError(*lines, *tail, _keep(run, lines, evidence)) from error


def _words(error: Exception) -> str:
    plain = isinstance(error, OSError) and not isinstance(error, StoreError)
    return shortage.words(error) if plain else str(error)  # type: ignore[arg-type]


def _remove(run: RunDir, started: Sequence["subprocess.Popen[bytes]"]) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        take_down(run, now=True)
    if run.path.exists():  # a second Ctrl-C came in the middle of it
        take_down(run, now=True)
    for process in started:
        process.wait()


def _gather(run: RunDir) -> dict[str, bytes]:
    from hvsim.observe import autopsy  # only who fails needs it

    return autopsy.gather(run)


def _keep(run: RunDir, why: Sequence[str], evidence: Mapping[str, bytes]) -> str:
    """Keep what was gathered, now that the run directory needs no room any more; the last line for
    the reader."""
    lab_file = str(run.record.get("lab_file", ""))
    try:
        kept = postmortem.keep(run.name, lab_file, why, evidence)
    except (OSError, HvsimError) as failure:
        return f"no post-mortem is kept: {failure}; set HVSIM_STATE_DIR to a directory of yours"
    return f"post-mortem: {kept.path}; `hvsim postmortem {kept.number}` shows it"


def _named(role: str, program: str) -> str:
    """A process of dom0 for the reader: what it is, and which program when it is not ours."""
    return role if program == BUILTIN else f"{role} ({find(program)})"


def _logs(run: RunDir) -> list[str]:
    """The last lines of consoles and logs that may tell why: they are about to go."""
    return logs.ends((*sorted(run.console.glob("*.log")), *sorted(run.log.glob("*.log"))), 8)


def create_request(lab: Lab, run: RunDir, domain: Domain) -> dict[str, Any]:
    """The fields of the control wire's "create" request for `domain`."""
    images = lab.image_paths(run.images)
    files = [list(entry) for entry in domain.files]
    if domain.is_driver:
        files += [[path, "rw"] for path in images.values()]
        files += [[path, mode] for path, mode in _served(lab, domain, images)]
    return {
        "config": domain.config,
        "config_path": domain.config_path,
        "directory": str(domain.directory),
        "overrides": [*domain.overrides, *(["driver_domain = 1"] if domain.is_driver else [])],
        "images": images,
        "program": domain.program,
        "args": {"seed": lab.seed, "hosts": lab.hosts, **domain.args},
        "profile": domain.role,
        "files": files,
        "path": list(dict.fromkeys([str(lab.file.parent), str(domain.directory)])),
        "restart": domain.restart,
        "walls": domain.walls,
        "paused": False,
    }


def _served(lab: Lab, driver: Domain, images: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The undeclared images that `driver` serves: its process may open nothing else."""
    for guest in lab.domains:
        for disk in guest.disks:
            if disk.backend == driver.name and disk.target and disk.target not in images:
                # By the name that the backend is told, whatever links are on its way.
                path = os.path.abspath(guest.directory / disk.target)
                yield path, "r" if disk.readonly else "rw"


def _create(control: Control, lab: Lab, run: RunDir, domain: Domain) -> int:
    answer = control.request(
        "create", patience=TOOLSTACK_TIMEOUT, **create_request(lab, run, domain)
    )
    _check(answer, f"domain {domain.name!r} could not be created")
    return int(answer.data["domid"])


def _walls(control: Control) -> dict[str, list[str]]:
    rows = (control.data("ps") or {}).get("domains", [])
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


def _ended(inquiry: Inquiry, control: Control, domids: dict[str, int]) -> dict[int, str]:
    """Those of `domids` that are gone or shut down, and why."""
    data = control.data("ps")
    listed = {row.get("domid"): row for row in (data or {}).get("domains", [])}
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
