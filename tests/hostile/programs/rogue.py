"""A guest that turns hostile: it tries everything in a list and says what came of it.

Each attempt returns one word: ``ok`` when it got what it wanted, else the errno or status that
stopped it.  What is expected stands in ``tests/hostile/expected.py``, not here.
"""

import errno
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hvsim.domain import Domain
from hvsim.domain.mapper import Mapping
from tests.hostile.programs import rogue_files, rogue_hypercalls, rogue_memory, rogue_processes


@dataclass
class Scene:
    """What the rogue was told or was honestly given: the more it knows, the better the test.

    ``facts`` has the host's pids, paths and socket names, and what the victim said about
    itself, the address of its secret included.
    """

    dom: Domain
    facts: dict[str, Any]
    readonly: Mapping
    shared: Mapping
    port: int


def outcome(attempt: Callable[[Scene], str | None], scene: Scene) -> str:
    """Run one attempt and name its end."""
    try:
        return attempt(scene) or "ok"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    except Exception:
        return "error: " + traceback.format_exc()


def main(dom: Domain) -> None:
    """Map what was granted, then try every attempt, one line of JSON for each."""
    facts = dom.args
    victim = facts["victim"]
    # Before anything else is opened: what came with birth.
    print(
        json.dumps({"attempt": "inherited descriptors", "outcome": rogue_processes.inherited(dom)}),
        flush=True,
    )
    scene = Scene(
        dom,
        facts,
        dom.mapper.map(victim, facts["ro_ref"], readonly=True),
        dom.mapper.map(victim, facts["rw_ref"]),
        dom.events.bind_interdomain(victim, facts["port"]),
    )
    for module in (rogue_processes, rogue_files, rogue_memory, rogue_hypercalls):
        for name, attempt in module.ATTEMPTS.items():
            print(json.dumps({"attempt": name, "outcome": outcome(attempt, scene)}), flush=True)
    print(json.dumps({"done": True}), flush=True)
    dom.serve()  # until it is destroyed
