"""hvsim xl ..."""

import sys
from collections.abc import Sequence

from hvsim.commands.common import control_of, say, warn
from hvsim.commands.raw import split_lab
from hvsim.lab.choose import choose
from hvsim.lab.control import TIMEOUT
from hvsim.surroundings import working_directory

HELP = """The toolstack of a running lab: xl's commands with xl's texts and exit codes."""
EXAMPLE = """  hvsim xl list
  hvsim xl create web.cfg 'memory=64'
  hvsim xl console db-primary          # Ctrl-] leaves it
  hvsim xl shutdown -w db-primary"""
USAGE = f"""usage: hvsim xl [-vfNtT] <subcommand> [args]

{HELP}

  list create destroy shutdown reboot pause unpause console dmesg
  block-list block-attach block-detach domid domname info vcpu-list

`hvsim xl <subcommand> --help` explains one. Listings take --json.

example:
{EXAMPLE}"""

_WAITING = ("-w", "--wait")


def run_raw(words: Sequence[str], lab: str | None) -> int:
    """Run one xl command in the lab's toolstack daemon; its exit code is xl's."""
    rest, lab = split_lab(words, lab)
    if not rest or rest[0] in ("-h", "--help"):
        say(*USAGE.split("\n"))
        return 0 if rest else 1
    # `xl list -l` is JSON already, in real xl as here; --json is ours on every listing.
    json = "--json" in rest
    argv = [word for word in rest if word != "--json"]
    run = choose(lab)
    waits = any(
        word in _WAITING or (word.startswith("-") and not word.startswith("--") and "w" in word)
        for word in argv[1:]
    )
    console_after = argv[0] == "create" and "-c" in argv[1:]
    with control_of(run) as control:
        answer = control.request(
            "xl",
            patience=None if waits else TIMEOUT,
            argv=argv,
            cwd=working_directory(),
            json=json,
            tty=sys.stdout.isatty(),
            out=_out,
            err=_err,
        )
        data = answer.data
        if (
            answer.exit == 0
            and (argv[0] == "console" or console_after)
            and isinstance(data, dict)
            and data.get("tty")
        ):
            from hvsim.observe.console import attach

            return attach(str(data["tty"]))
    return answer.exit


def _out(text: str) -> None:
    say(*text.removesuffix("\n").split("\n"))


def _err(text: str) -> None:
    warn(*text.removesuffix("\n").split("\n"))
