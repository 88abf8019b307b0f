"""hvsim validate LAB or SCENARIO"""

import argparse
from typing import TYPE_CHECKING

from hvsim.commands.common import json_option, print_json, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hvsim.commands.rows import ProblemRow, ValidateRow
    from hvsim.lab.model import Lab
    from hvsim.lab.problems import Problem

HELP = """Check a lab file or a scenario, and the guest configs it names, without starting anything.

Whatever `hvsim up` or `xl create` would refuse is refused here, every problem at once, each with
its file, line, place and remedy. What is accepted and has no effect here is warned of. A guest
config (*.cfg, xl.cfg(5)) may be checked by itself. The JSON Schema of lab files is printed by
--schema, that of scenarios by --schema scenario; editors can use it for completion."""
EXAMPLE = """  hvsim validate configs/two-tier.toml
  hvsim validate configs/guests/storage.cfg
  hvsim validate --schema > lab.schema.json"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument(
        "file", metavar="LAB", nargs="?", help="the lab file or scenario (TOML), or a *.cfg"
    )
    parser.add_argument(
        "--schema",
        nargs="?",
        const="lab",
        choices=("lab", "scenario"),
        help="print the JSON Schema of lab files, or of scenarios, and end",
    )
    parser.add_argument(
        "--lockstep",
        action="store_true",
        help="refuse as well what cannot be in lockstep: Linux' network, QEMU, real daemons and "
        "programs of the machine, which take no turns",
    )
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0: sound. 1: refused."""
    from hvsim.errors import HvsimError
    from hvsim.lab.check.lockstep import refuse
    from hvsim.lab.problems import LabFileError

    if options.schema == "scenario":
        from hvsim.faults.scenario.schema import schema as of_scenarios

        print_json(of_scenarios())
        return 0
    if options.schema:
        from hvsim.faults.of_lab import with_words
        from hvsim.lab.schema import schema

        print_json(with_words(schema()))
        return 0
    if options.file is None:
        raise HvsimError("validate: which lab file? `hvsim validate LAB.toml`")
    try:
        lab = _read(options.file)
        if options.lockstep:
            refuse(lab)
    except LabFileError as error:
        if not options.json:
            raise
        refused: ValidateRow = {"valid": False, "problems": _rows(error.problems), "warnings": []}
        print_json(refused)
        return 1
    if options.json:
        warnings = _rows(lab.warnings)
        row: ValidateRow = {"valid": True, "name": lab.name, "problems": [], "warnings": warnings}
        print_json(row)
    else:
        for warning in lab.warnings:
            tell(f"warning: {warning}")
        tell(
            f"{options.file}: sound: lab {lab.name}, {len(lab.domains)} domains, "
            f"{len(lab.images)} images"
        )
    return 0


def _read(file: str) -> "Lab":
    """The lab of a lab file, a guest's config or a scenario.  Raises: LabFileError."""
    from hvsim.lab.load import load, load_guest
    from hvsim.lab.tables import tables_of

    if file.endswith(".cfg"):
        return load_guest(file)
    if "scenario" in tables_of(file):
        from hvsim.faults.scenario.load import load as load_scenario

        return load_scenario(file).lab
    lab = load(file)
    if lab.faults:
        from hvsim.faults.of_lab import drafts

        drafts(lab)
    return lab


def _rows(problems: "Sequence[Problem]") -> "list[ProblemRow]":
    return [
        {
            "file": one.file,
            "line": one.line,
            "place": one.place,
            "text": one.text,
            "remedy": one.remedy,
        }
        for one in problems
    ]
