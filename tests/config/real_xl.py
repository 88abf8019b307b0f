"""The installed xl, run in Domain-0 of a lab: ``xl create -n -d`` prints what it understood."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from tests.config.configs import SOURCE, Said, of_output
from tests.support.labs import Commands

LAB = """
[lab]
name = "oracle"
cpus = 4
[[domain]]
name = "g"
memory = 16
program = "domains.guests.idle:main"
"""


AT_A_TIME = 100
"""Configs that one program asks about."""


def ask(hvsim: Commands, xl: str, folder: Path, texts: Sequence[str]) -> list[Said]:
    """What xl says of each text, in programs of Domain-0."""
    script = []
    for number, text in enumerate(texts):
        here = folder / str(number)
        here.mkdir()
        (here / SOURCE).write_bytes(text.encode("utf-8", "surrogateescape"))
        script.append(
            f"cd {shlex.quote(str(here))} && {{ {xl} create -n -d {SOURCE} >out 2>err; "
            "echo $? >code; }"
        )
    for first in range(0, len(script), AT_A_TIME):
        run = folder / f"run{first}"
        run.write_text("\n".join(script[first : first + AT_A_TIME]) + "\n")
        hvsim.ok("exec", "Domain-0", "--", "sh", str(run))
    found = []
    for number in range(len(texts)):
        here = folder / str(number)
        out, err = (
            (here / name).read_bytes().decode("utf-8", "surrogateescape") for name in ("out", "err")
        )
        found.append(of_output(int((here / "code").read_text()), out, err))
    return found
