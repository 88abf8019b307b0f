"""The compiled helper `hvsim._native` and how the rest of the house finds it.

The helper is optional: it is built when a C compiler is there, and every use of it has a twin in
pure Python that passes the same tests.  `HVSIM_PURE=1` in the environment selects the twins.
"""

import os
from types import ModuleType

__all__ = ["load"]


def load() -> ModuleType | None:
    """The module `hvsim._native`, or None without it (not built, or HVSIM_PURE=1)."""
    if os.environ.get("HVSIM_PURE") == "1":
        return None
    try:
        from hvsim import _native
    except ImportError:
        return None
    return _native
