"""What the kernel counts for each namespace, set low in those of a domain.

Under ``/proc/sys`` a process sees the settings of its own namespaces, and whoever is root of a
namespace may change them there; a limit of a namespace around it holds besides
(user_namespaces(7), ucounts).  To be called while the process is root in its new namespaces.
"""

import os
from collections.abc import Mapping
from typing import Final

USER: Final[Mapping[str, str]] = {
    "user/max_inotify_instances": "64",
    "user/max_inotify_watches": "8192",
    "user/max_fanotify_groups": "0",
    "user/max_fanotify_marks": "0",
}
"""Of a user namespace; without this the last inotify watch of the user may be taken."""
NETWORK: Final[Mapping[str, str]] = {
    "net/ipv4/tcp_rmem": "4096 131072 1048576",
    "net/ipv4/tcp_wmem": "4096 65536 1048576",
}
"""Of a network namespace: bytes that a TCP socket may buffer: least, at first, most."""


def set_low(proc: int, settings: Mapping[str, str]) -> list[str]:
    """Write them, as far as there are such.

    Args:
        proc: descriptor of a /proc.

    Returns what could not be written, and why, a text each.
    """
    failed = []
    for name, value in settings.items():
        try:
            fd = os.open(f"sys/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
            try:
                os.write(fd, value.encode())
            finally:
                os.close(fd)
        except FileNotFoundError:
            pass  # a kernel without such
        except OSError as error:
            failed.append(f"quotas: {name}: {error.strerror}")
    return failed
