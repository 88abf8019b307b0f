"""Which paths are valid, and what a relative path means.

Paths are bytes throughout the daemon.  A path is ``/`` or components of ``[A-Za-z0-9_@-]``, each
behind one ``/``; a path that does not begin with ``/`` or ``@`` is relative to
``/local/domain/<domid>`` of the connection.  A path may have 2048 bytes, not counting a leading
``/local/domain/<domid>/``.  Source: docs/misc/xenstore.txt; ``is_valid_nodename`` of xenstored.
"""

from __future__ import annotations

import re
from typing import Final

from hvsim.abi import xs_wire
from hvsim.abi.errno import EINVAL
from hvsim.xenstore.rules.errors import Refused

INTRODUCE_DOMAIN: Final = b"@introduceDomain"
RELEASE_DOMAIN: Final = b"@releaseDomain"

_VALID: Final = re.compile(rb"/|(?:/[A-Za-z0-9_@-]+)+").fullmatch
_LOCAL: Final = re.compile(rb"/local/domain/[0-9]{1,5}/").match


def home(domid: int) -> bytes:
    """``/local/domain/<domid>``."""
    return b"/local/domain/%d" % domid


def canonical(path: bytes, home: bytes, limit: int = xs_wire.XENSTORE_REL_PATH_MAX) -> bytes:
    """The absolute path of node *path*.

    Raises: Refused(EINVAL) for a path that no node can have; special nodes (``@...``) included.
    """
    if path[:1] != b"/":
        if path[:1] == b"@":
            raise Refused(EINVAL)
        path = home + b"/" + path
    if _VALID(path) is None:
        raise Refused(EINVAL)
    if len(path) > limit:
        local = _LOCAL(path)
        if local is None or len(path) > limit + local.end():
            raise Refused(EINVAL)
    return path


def parent(path: bytes) -> bytes:
    """The path one level up; of ``/`` it is ``/``."""
    return path[: path.rindex(b"/")] or b"/"


def split(path: bytes) -> tuple[bytes, bytes]:
    """Both: the path one level up, and the last component."""
    end = path.rindex(b"/")
    return path[:end] or b"/", path[end + 1 :]


def join(path: bytes, name: bytes) -> bytes:
    """The path of child *name*."""
    return path + name if path == b"/" else path + b"/" + name
