"""hvsim validate LAB"""

import argparse

from hvsim.commands.common import json_option, print_json, say

HELP = """Check a lab file, and the guest configs it names, without starting anything.

Every problem is told at once, each with its file, line, place and remedy. The JSON Schema of
lab files is printed by --schema; editors can use it for completion."""
EXAMPLE = """  hvsim validate configs/two-tier.toml
  hvsim validate --schema > lab.schema.json"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument("file", metavar="LAB", nargs="?", help="the lab file (TOML)")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema and end")
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0: sound. 1: refused."""
    from hvsim.lab.load import load
    from hvsim.lab.problems import HvsimError, LabFileError
    from hvsim.lab.schema import schema

    if options.schema:
        print_json(schema())
        return 0
    if options.file is None:
        raise HvsimError("validate: which lab file? `hvsim validate LAB.toml`")
    try:
        lab = load(options.file)
    except LabFileError as error:
        if not options.json:
            raise
        print_json(
            {
                "valid": False,
                "problems": [
                    {
                        "file": one.file,
                        "line": one.line,
                        "place": one.place,
                        "text": one.text,
                        "remedy": one.remedy,
                    }
                    for one in error.problems
                ],
            }
        )
        return 1
    if options.json:
        print_json({"valid": True, "name": lab.name, "problems": []})
    else:
        say(
            f"{options.file}: sound: lab {lab.name}, {len(lab.domains)} domains, "
            f"{len(lab.images)} images"
        )
    return 0
