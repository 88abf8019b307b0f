"""A hotplug script of Domain-0, as libxl runs it: ``python -m hvsim.lab.script ACTION``.

It passes the request on to the toolstack of the lab that it runs in.  Its exit status is what
libxl looks at, and ``hotplug-error`` in the backend's directory, which the toolstack writes.
"""

import os
import sys
from pathlib import Path

from hvsim.lab.answers import ControlError
from hvsim.lab.control import TIMEOUT, Control
from hvsim.speak import note
from hvsim.wire.lab_requests import Hotplug


def main() -> int:
    """0 when it is done."""
    action = sys.argv[1] if len(sys.argv) > 1 else ""
    place, path = os.environ.get("HVSIM_DOM0"), os.environ.get("XENBUS_PATH")
    if not place or not path or not action:
        note("script: libxl runs this, with XENBUS_PATH and an action")
        return 1
    try:
        with Control(Path(place).parent / "control") as control:
            answer = control.request(Hotplug(path, action), patience=TIMEOUT)
    except ControlError as failure:
        note(f"script: {failure}")
        return 1
    if answer.err:
        note(answer.err)
    return 1 if answer.exit else 0


if __name__ == "__main__":
    sys.exit(main())
