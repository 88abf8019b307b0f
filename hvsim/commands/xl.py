"""hvsim xl ..."""

from collections.abc import Sequence

from hvsim.commands.common import control_of, say, warn
from hvsim.commands.raw import split_lab
from hvsim.lab.choose import choose
from hvsim.lab.control import TIMEOUT
from hvsim.surroundings import working_directory
from hvsim.wire.control import Xl

HELP = """The toolstack of a running lab: xl's commands with xl's texts and exit codes."""
EXAMPLE = """  hvsim xl list
  hvsim xl create web.cfg 'memory=64'
  hvsim xl console db-primary          # Ctrl-] leaves it
  hvsim xl shutdown -w db-primary"""
USAGE = f"""usage: hvsim xl [--lab NAME] [--json] [-vfNtT] <subcommand> [args]

{HELP}

`hvsim xl help` lists xl's subcommands, of which one may be shortened as long as
it names no other; `hvsim xl <subcommand> --help` explains one. Listings take
--json.

example:
{EXAMPLE}"""

ACKNOWLEDGED = 90.0
"""Seconds for commands in which a guest has 60 s to acknowledge something."""


def run_raw(words: Sequence[str]) -> int:
    """Run one xl command in the lab's toolstack daemon; its exit code is xl's."""
    rest, lab = split_lab(words)
    if not rest or rest[0] in ("-h", "--help"):
        say(*USAGE.split("\n"))
        return 0 if rest else 1
    # `xl list -l` is JSON already, in real xl as here; --json is ours on every listing.
    json = "--json" in rest
    argv = [word for word in rest if word != "--json"]
    run = choose(lab)
    with control_of(run) as control:
        answer = control.request(
            Xl(argv, working_directory(), json),
            patience=patience(argv),
            out=_out,
            err=_err,
        )
        data = answer.data
        if answer.exit == 0 and isinstance(data, dict) and data.get("attach"):
            from hvsim.observe.console import attach

            return attach(str(data["tty"]))
    return answer.exit


def patience(argv: Sequence[str]) -> float | None:
    """Seconds in which something must come of a command line; None where xl waits for ever."""
    words = list(argv)
    while words and words[0].startswith("-"):
        words.pop(0)
    name = _waits(words[0]) if words else ""
    letters = {letter for word in words if word[:1] == "-" and word[1:2] != "-" for letter in word}
    if name in ("shutdown", "reboot"):
        waits = "w" in letters or any("--wait".startswith(word) for word in words if len(word) > 2)
        return None if waits else ACKNOWLEDGED
    return None if name == "create" and "F" in letters else TIMEOUT


def _waits(word: str) -> str:
    """The verb that *word* is, when it is one of those that may wait for long."""
    if not any(verb.startswith(word) for verb in ("shutdown", "reboot", "create")):
        return ""
    from hvsim.toolstack.xl.table import find  # it has all verbs, which may be shortened

    verb = find(word)
    return verb.name if verb is not None else ""


def _out(text: str) -> None:
    say(*text.removesuffix("\n").split("\n"))


def _err(text: str) -> None:
    warn(*text.removesuffix("\n").split("\n"))
