"""From a fresh clone of the spawner to a domain: what the child does before its program.

The order matters: die with the parent first; descriptors before walls, because opening a
log file needs the host's paths; walls before any code of the domain.
"""

import gc
import importlib.util
import os
import select
import signal
import sys
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import msgpack

from hvsim.domain import backstage, exec_process, sandbox
from hvsim.domain.sandbox import descriptors, syscalls
from hvsim.domain.spawn_spec import SpawnSpec, SpecError

_OUR_PACKAGES: Final = ("hvsim", "domains", "msgpack")
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
    "/dev/zero",
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
    missing: tuple[str, ...],
    run: Callable[[int, int, dict[str, Any]], object],
    ids: tuple[int, int] = (0, 0),
) -> NoReturn:
    """Turn this process into the domain's and run it; exits instead of returning.

    Args:
        packed: the spec as it came.
        walled: whether the clone went into namespaces of its own (as far as they are to be had).
        ids: the effective user and group before the clone.
    """
    name = "?"
    try:
        try:
            syscalls.set_death_signal(signal.SIGKILL)
            if select.select([parent_pidfd], [], [], 0)[0]:
                os._exit(1)  # it died before we asked to die with it
            spec = SpawnSpec.parse(msgpack.unpackb(packed))
            name = spec.name
            if walled != (not spec.trusted and "namespaces" not in spec.without):
                raise SpecError("the request looked like one of another profile")
            _reset_signals()
            os.setsid()
            syscalls.set_name(spec.title)
            os.umask(0o077)
            stdout = descriptors.open_stdout(spec.stdout)
            kept = [report_fd]
            if spec.stdio is not None:
                kept.append(exec_process.connect(spec.stdio))
            report_fd, *stdio = descriptors.arrange(conn_fd, upcall_fd, stdout, tuple(kept))
            if stdio:
                run = partial(exec_process.run, stdio[0])
            _use_streams()
            sys.path[:0] = [entry for entry in spec.path if entry not in sys.path]
            found = list(missing)
            if not spec.trusted:
                found = sandbox.enter(
                    _walls(spec),
                    spec.files,
                    [*readable, *map(os.path.abspath, spec.path)],
                    landlock_abi=landlock_abi,
                    missing=missing,
                    without=spec.without,
                    executables=_executables(spec, ids),
                    network=spec.network,
                )
            else:
                syscalls.set_death_signal(signal.SIGKILL)
                if spec.room:
                    backstage.enter(spec.room)
        except Exception as error:
            _report(report_fd, False, f"{name}: {_describe(error)}")
            os._exit(1)
        _report(report_fd, True, found)
        os.close(report_fd)
        status = _run(spec, run)
    except BaseException:
        # Not even the report could be written: whoever waits for it sees the end of file.
        os._exit(1)
    os._exit(status)


def _walls(spec: SpawnSpec) -> sandbox.Profile:
    if spec.executables:
        return "program"
    return "driver" if spec.profile == "driver" else "guest"


def _executables(spec: SpawnSpec, ids: tuple[int, int]) -> sandbox.Executables | None:
    if not spec.executables:
        return None
    return sandbox.Executables(ids=ids, store=spec.store, hosts=spec.hosts)


def readable_paths() -> list[str]:
    """What an interpreter reads in a domain: itself, its libraries and our packages.

    Not ``sys.path`` as it is: its first entry may be the directory the lab was started in.
    Costs milliseconds; the spawner asks once.
    """
    named = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = [sysconfig.get_path(name) for name in named]
    if sys.base_prefix not in ("/", "/usr"):
        paths.append(os.path.join(sys.base_prefix, "lib"))
    paths.append(os.path.realpath(sys.executable))
    for package in _OUR_PACKAGES:
        found = importlib.util.find_spec(package)
        if found is not None and found.submodule_search_locations:
            paths += found.submodule_search_locations
    paths += _SYSTEM
    known = [path for path in dict.fromkeys(paths) if os.path.exists(path)]
    # A rule stands for all below its directory, so most of these say nothing new.
    return [path for path in known if not any(path.startswith(f"{up}/") for up in known)]


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


def _run(spec: SpawnSpec, run: Callable[[int, int, dict[str, Any]], object]) -> int:
    gc.enable()
    try:
        run(descriptors.CONN_FD, descriptors.UPCALL_FD, dict(spec.raw))
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            status = status or 1
    return status & 0xFF


def _report(fd: int, ok: bool, detail: object) -> None:
    data = msgpack.packb([ok, detail])
    if len(data) > _MAX_REPORT:
        data = msgpack.packb([ok, str(detail)[: _MAX_REPORT // 8]])
    os.write(fd, data)


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return f"{type(error).__name__}: {error}"
