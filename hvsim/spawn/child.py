"""From a fresh clone of the spawner to a domain: what the child does before its program.

The order matters: die with the parent first; descriptors before walls, because opening a
log file needs the host's paths; walls before any code of the domain.
"""

import contextlib
import gc
import importlib.util
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NoReturn

from hvsim.domain import vcpu
from hvsim.linux import syscalls
from hvsim.spawn import backstage, exec_process, sandbox
from hvsim.spawn.sandbox import cgroup, descriptors
from hvsim.spawn.spec import parse
from hvsim.speak import note
from hvsim.wire.descriptors import CONN_FD, UPCALL_FD
from hvsim.wire.packing import pack, unpack
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import BadMessage, changed

_OUR_PACKAGES: Final = ("hvsim", "domains", "msgpack")
_PACKAGES: Final = ("site-packages", "dist-packages")
"""What the directories are called where packages are installed (the latter by Debian)."""
_SYSTEM: Final = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/null",
    "/dev/urandom",
)
_MAX_REPORT: Final = select.PIPE_BUF


def become_domain(
    packed: memoryview,
    *,
    walled: bool,
    conn_fd: int,
    upcall_fd: int,
    report_fd: int,
    parent_pidfd: int,
    readable: Sequence[str],
    landlock_abi: int,
    run: Callable[[int, int, Spawn], object],
    missing: tuple[str, ...] = (),
    place: sandbox.Place | None = None,
    joined: tuple[int, int] | None = None,
) -> NoReturn:
    """Turn this process into the domain's and run it; exits instead of returning.

    Args:
        packed: the spec as it came.
        walled: whether the clone went into namespaces of its own (as far as they are to be had).
        missing: those that it did without.
        place: what the warden hands to its children.
        joined: for a further process of a domain: pidfd of its first one, and a descriptor of the
            process namespace of its programs.
    """
    name = "?"
    try:
        try:
            syscalls.set_death_signal(signal.SIGKILL)
            if select.select([parent_pidfd], [], [], 0)[0]:
                os._exit(1)  # it died before we asked to die with it
            spec = parse(unpack(packed))
            name = spec.name
            if walled != (not spec.trusted and "namespaces" not in spec.without):
                raise BadMessage("the request looked like one of another profile")
            _reset_signals()
            os.setsid()
            syscalls.set_name(spec.title)
            os.umask(0o077)
            stdout = descriptors.open_stdout(spec.stdout)
            kept = [report_fd]
            if place is not None:
                kept += [place.proc, *(joined or ())]
            if spec.stdio:
                kept.append(exec_process.connect(spec.stdio))
            report_fd, *others = descriptors.arrange(conn_fd, upcall_fd, stdout, tuple(kept))
            if place is not None:
                place = replace(place, proc=others.pop(0))
                if joined is not None:
                    place = replace(place, joined=others.pop(0), below=others.pop(0))
            if others:
                run = partial(exec_process.run, others[0])
            _use_streams()
            sys.path[:0] = [entry for entry in spec.path if entry not in sys.path]
            found: list[str] = []
            uncounted = ""
            if not spec.trusted:
                uncounted = cgroup.enter(spec.cgroup)
                if not spec.runs_programs:
                    vcpu.prepare()
                outcome = sandbox.enter(
                    _walls(spec),
                    spec.files,
                    spec.path,
                    readable=readable,
                    landlock_abi=landlock_abi,
                    place=place,
                    missing=missing,
                    without=spec.without,
                    lenient=spec.lenient,
                    executables=_executables(spec),
                    network=bool(spec.net),
                    pages=spec.pages,
                    uncounted=uncounted,
                )
                found = outcome.missing
                for text in outcome.lacking:
                    note(f"no {text}")
            else:
                syscalls.set_death_signal(signal.SIGKILL)
                if spec.room is not None:
                    backstage.enter(spec.room)
        except Exception as error:
            _report(report_fd, False, f"{name}: {_describe(error)}")
            os._exit(1)
        _report(report_fd, True, found)
        os.close(report_fd)
        status = _run(spec, run, not uncounted)
    except BaseException:
        # Not even the report could be written: whoever waits for it sees the end of file.
        os._exit(1)
    os._exit(status)


def _walls(spec: Spawn) -> sandbox.Profile:
    if spec.runs_programs:
        return "program"
    return "driver" if spec.profile == "driver" else "guest"


def _executables(spec: Spawn) -> sandbox.Executables | None:
    if not spec.runs_programs:
        return None
    return sandbox.Executables(store=spec.store_socket or None, hosts=spec.hosts)


def readable_paths() -> list[str]:
    """What an interpreter reads in a domain: itself, its libraries and our packages.

    Not ``sys.path`` as it is: its first entry may be the directory the lab was started in; of the
    others see :func:`libraries`.
    Costs milliseconds; the spawner asks once.
    """
    # Not by sysconfig: from Python 3.13 on it imports threading, which no forked child may cost.
    library = f"python{sys.version_info.major}.{sys.version_info.minor}"
    paths = [
        os.path.dirname(os.__file__),
        os.path.join(sys.base_exec_prefix, sys.platlibdir, library),
    ]
    paths += [path for path in sys.path if os.path.basename(path) in _PACKAGES]
    if sys.base_prefix not in ("/", "/usr"):
        paths.append(os.path.join(sys.base_prefix, "lib"))
    # By its own name, which in a virtual environment is a link, and by that which it leads to.
    paths += [sys.executable, os.path.realpath(sys.executable)]
    paths.append(os.path.join(sys.prefix, "pyvenv.cfg"))
    for package in _OUR_PACKAGES:
        found = importlib.util.find_spec(package)
        if found is not None and found.submodule_search_locations:
            paths += found.submodule_search_locations
    paths += libraries()
    paths += _SYSTEM
    known = [path for path in dict.fromkeys(paths) if os.path.exists(path)]
    # A rule stands for all below its directory, so most of these say nothing new.
    return [path for path in known if not any(path.startswith(f"{up}/") for up in known)]


def libraries() -> list[str]:
    """Folders of libraries that the lab's owner has put on the path of the `hvsim` that starts the
    lab: by PYTHONPATH, or by a ``.pth`` file, as an editable install does.

    A folder that holds homes, the places of labs or hvsim itself is none of libraries: there is
    much else in it, which `files` of the lab file can grant by name.
    """
    named = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    for packages in [path for path in sys.path if os.path.basename(path) in _PACKAGES]:
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(packages)):
                if name.endswith(".pth"):
                    named += _added_by(packages, name)
    above = [
        os.path.expanduser("~"),
        os.environ.get("HVSIM_RUN_DIR") or "/tmp/hvsim",
        os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    ]
    above = [os.path.join(os.path.realpath(path), "") for path in above]
    found = []
    for folder in map(os.path.abspath, named):
        inside = os.path.join(os.path.realpath(folder), "")
        if os.path.isdir(folder) and not any(path.startswith(inside) for path in above):
            found.append(folder)
    return found


def _added_by(packages: str, name: str) -> list[str]:
    """The folders that a ``.pth`` file has put on our path (site.addpackage)."""
    with open(os.path.join(packages, name), encoding="utf-8", errors="replace") as file:
        lines = [os.path.join(packages, line.strip()) for line in file if line.strip()]
    return [line for line in lines if line in sys.path]


def _reset_signals() -> None:
    """Default actions for everything, save the two that Python itself ignores at its start.

    The spawner changes only what stands here, so that a child need not visit all 64.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _use_streams() -> None:
    """The inherited stream objects stand over new files: whole lines, at once."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True, errors="backslashreplace")


def _run(spec: Spawn, run: Callable[[int, int, Spawn], object], counted: bool) -> int:
    gc.enable()
    try:
        told = changed(spec, counted=counted)
        run(CONN_FD, UPCALL_FD, told)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        note(traceback.format_exc())
        status = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            status = status or 1
    return status & 0xFF


def _report(fd: int, ok: bool, detail: object) -> None:
    data = pack([ok, detail])
    if len(data) > _MAX_REPORT:
        data = pack([ok, str(detail)[: _MAX_REPORT // 8]])
    os.write(fd, data)


def _describe(error: Exception) -> str:
    if isinstance(error, sandbox.WallError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return f"{type(error).__name__}: {error}"
