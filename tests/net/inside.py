"""Run a function of a test in a user and network namespace of its own, as root or as anybody.

``inside("tests.net.cases:name", kind="tap")`` returns what the function returned (JSON).
"""

import ctypes
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
TIMEOUT: Final = 60.0
_NEWUSER: Final = 0x1000_0000
_NEWNET: Final = 0x4000_0000

_libc = ctypes.CDLL(None, use_errno=True)


def inside(function: str, **arguments: Any) -> Any:
    """Call *function* ("module:name") there; an exception of it fails the test with its text."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.net.inside", function, json.dumps(arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def unshare(flags: int) -> None:
    """``unshare(2)``.  Raises OSError."""
    if _libc.unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def own_network() -> None:
    """A further network namespace, for a process that is in a user namespace already."""
    unshare(_NEWNET)


def main() -> None:
    """In the child."""
    ids = (("setgroups", "deny"), ("uid_map", os.geteuid()), ("gid_map", os.getegid()))
    unshare(_NEWUSER | _NEWNET)
    for name, value in ids:
        text = value if isinstance(value, str) else f"0 {value} 1"
        Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    module, _, function = sys.argv[1].partition(":")
    found = getattr(importlib.import_module(module), function)(**json.loads(sys.argv[2]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
