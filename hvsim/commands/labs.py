"""hvsim labs"""

import argparse
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hvsim.commands.common import json_option, print_json, say, table, warn

if TYPE_CHECKING:
    from hvsim.commands.rows import LabRow

HELP = """List the labs of this user: name, state, hypervisor pid, age and lab file.

States: starting, running, stopping; failed (left as it is by `up --keep`), interrupted (its
`up` was killed) and dead (its hypervisor is gone): `hvsim down NAME` clears these away."""
EXAMPLE = """  hvsim labs"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0, also when there is none."""
    from hvsim.lab.rundir import base_dir, survey

    rows: list[LabRow] = []
    labs, strange = survey()
    for why in strange.values():
        warn(f"hvsim: {why}")
    for lab in labs:
        hypervisor = lab.hypervisor
        rows.append(
            {
                "name": lab.name,
                "state": lab.state,
                "pid": hypervisor.pid if hypervisor and lab.running else None,
                "seconds": round(max(0.0, time.time() - _created(lab.record)), 1),
                "lab_file": lab.record.get("lab_file"),
                "run_dir": str(lab.path),
                "ended": lab.why_ended() if lab.state == "dead" else None,
            }
        )
    if options.json:
        print_json(rows)
    elif not rows:
        say(f"No lab in {base_dir()}. Start one: hvsim up LAB.toml")
    else:
        say(
            *table(
                ("NAME", "STATE", "PID", "AGE", "LAB FILE"),
                [
                    (
                        row["name"],
                        row["state"],
                        row["pid"] or "-",
                        age(row["seconds"]),
                        row["lab_file"],
                    )
                    for row in rows
                ],
            )
        )
        for row in rows:
            if row["ended"]:
                say(f"{row['name']} has ended: {row['ended']}")
    return 0


def _created(record: Mapping[str, Any]) -> float:
    """When the lab was made; now, for a record that does not say it."""
    created = record.get("created")
    return float(created) if isinstance(created, int | float) else time.time()


def age(seconds: float) -> str:
    """7 -> "7s", 3700 -> "1h01m"."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
