"""Resource limits of a domain process, as data and as one call."""

import errno
import resource
from typing import Final

from hvsim.domain.sandbox.seccomp import Profile

_MIB: Final = 1 << 20
_PLAIN: Final[dict[int, int]] = {
    resource.RLIMIT_CORE: 0,  # a core file would hold what peers granted
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_MEMLOCK: _MIB,
}
#: Private memory of the process itself; what it maps from extents is not counted here.
_GUEST: Final[dict[int, int]] = {
    resource.RLIMIT_NOFILE: 1024,
    resource.RLIMIT_NPROC: 1,
    resource.RLIMIT_DATA: 1024 * _MIB,
    resource.RLIMIT_FSIZE: 64 * _MIB,  # bounds its log file
}
#: A driver domain holds a few descriptors per device of every guest it serves.
_DRIVER: Final[dict[int, int]] = {
    resource.RLIMIT_NOFILE: 16384,
    resource.RLIMIT_DATA: 4096 * _MIB,
}
#: A program of the machine brings threads and children of its own.
_PROGRAM: Final[dict[int, int]] = {
    resource.RLIMIT_NOFILE: 4096,
    resource.RLIMIT_NPROC: 512,
    resource.RLIMIT_DATA: 4096 * _MIB,
}
_OF: Final = {"guest": _GUEST, "driver": _DRIVER, "program": _PROGRAM}


def limits(profile: Profile, writes_files: bool) -> dict[int, int]:
    """``RLIMIT_*`` -> value.  Units are those of ``setrlimit(2)``.

    A guest that was given files to write is not bounded in their size.
    """
    chosen = {**_PLAIN, **_OF[profile]}
    if writes_files:
        chosen.pop(resource.RLIMIT_FSIZE, None)
    return chosen


def apply(profile: Profile, writes_files: bool) -> list[str]:
    """Set soft and hard limits; never above the hard limit that we were born with.

    Returns:
        What could not be set, in the words of the ``missing`` report.
    """
    missing = []
    for which, value in limits(profile, writes_files).items():
        hard = resource.getrlimit(which)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        try:
            resource.setrlimit(which, (value, value))
        except (OSError, ValueError) as error:
            code = error.errno if isinstance(error, OSError) else errno.EINVAL
            missing.append(f"rlimit-{which}: {errno.errorcode.get(code or 0, str(code))}")
    return missing
