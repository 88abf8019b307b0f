"""The `hvsim` command: finds the verb, and turns what goes wrong into one clear line.

Only the verb that is used gets imported: a listing must answer at once.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from errno import EPIPE
from types import SimpleNamespace
from typing import TYPE_CHECKING

from hvsim import surroundings
from hvsim.commands.verbs import COMMANDS, RAW, parser_of
from hvsim.errors import HvsimError
from hvsim.speak import say, warn

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import FrameType, ModuleType


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: the same tidy end as after Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Raises nothing but SystemExit of argparse."""
    if argv is None:
        surroundings.prepare()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _said(words)
    except HvsimError as error:
        first, *more = error.lines or ("",)
        warn(f"hvsim: {first}", *more)
        if os.environ.get("HVSIM_DEBUG"):
            warn(*_trace())
        return error.exit_code
    except surroundings.OutputFailed as error:
        surroundings.discard_output()
        if error.errno == EPIPE:  # the reader of our output (`| head`) has seen enough
            return surroundings.BROKEN_PIPE
        warn(f"hvsim: {error}")
        return 1
    except KeyboardInterrupt as error:
        warn("hvsim: interrupted")
        return 143 if isinstance(error, Terminated) else 130
    except Exception as error:
        return _unexpected(error, words)


def _said(words: list[str]) -> int:
    """The exit code, once all that was printed has left this process."""
    try:
        code = _run(words)
    except SystemExit:  # argparse has printed a help text
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return code


def _unexpected(error: Exception, words: Sequence[str]) -> int:
    """One line, and the rest in a file: a fault of ours must not bury what the user sees.

    Never raises: a fault in here would hide the one that is to be told.
    """
    if os.environ.get("HVSIM_DEBUG"):
        warn(*_trace())
        return 70
    import tempfile  # as what prints a trace, it is big, and of no use to a command that works

    try:
        fd, path = tempfile.mkstemp(prefix="hvsim-error-", suffix=".log")
        with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as log:
            log.write("\n".join([f"hvsim {' '.join(words)}", *_trace(), ""]))
        where = f"details are in {path} (HVSIM_DEBUG=1 shows them at once)"
    except OSError as failure:
        where = f"no file for the details ({failure.strerror}): HVSIM_DEBUG=1 shows them"
    warn(f"hvsim: unexpected: {type(error).__name__}: {error}; {where}")
    return 70


def _trace() -> list[str]:
    import traceback

    return traceback.format_exc().splitlines()


def _run(words: list[str]) -> int:
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    words = _verb_first(words)
    if not words or words[0] in ("-h", "--help", "help"):
        if words[1:] and words[0] == "help":
            words = [words[1], "--help"]
        else:
            say(*usage())
            return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from hvsim import __version__

        say(f"hvsim {__version__}")
        return 0
    verb, rest = words[0], words[1:]
    if verb not in COMMANDS:
        return _unknown(verb)
    module = importlib.import_module(f"hvsim.commands.{verb}")
    if verb in RAW:
        code: int = module.run_raw(rest)
    else:
        code = module.run(_options(verb, module, rest))
    return code


def _options(
    verb: str, module: ModuleType, words: list[str]
) -> argparse.Namespace | SimpleNamespace:
    """What a verb's words say; a parser is made when there are any."""
    if not words and hasattr(module, "NO_WORDS"):
        return SimpleNamespace(**module.NO_WORDS)
    return parser_of(verb, module).parse_args(words)


def _terminate(number: int, frame: FrameType | None) -> None:
    """The first counts: timeout(1) sends it to its child, and to the group in which that is; and a
    tidy end is not to be torn off."""
    for again in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(again, lambda *_: None)  # not ignored, which a child would inherit
    raise Terminated


def _verb_first(words: list[str]) -> list[str]:
    """What verbs have in common may stand before the verb as well: `hvsim --lab a ps` is
    `hvsim ps --lab a`."""
    taken: list[str] = []
    while words and (words[0] in ("--lab", "--json") or words[0].startswith("--lab=")):
        count = 2 if words[0] == "--lab" else 1
        if len(words) < count:
            raise HvsimError(
                "--lab needs the name of a lab: `hvsim --lab NAME xl list`; `hvsim labs` lists them"
            )
        taken, words = [*taken, *words[:count]], words[count:]
    return [*words[:1], *taken, *words[1:]] if words[:1] and words[0] in COMMANDS else words


def _unknown(verb: str) -> int:
    import difflib

    close = difflib.get_close_matches(verb, COMMANDS, n=1)
    remedy = f"did you mean `hvsim {close[0]}`?" if close else "`hvsim --help` lists the commands"
    warn(f"hvsim: unknown command {verb!r}; {remedy}")
    return 2


def usage() -> list[str]:
    """What `hvsim --help` says, line by line."""
    width = max(map(len, COMMANDS))
    lines = [f"  {verb:<{width}}  {text}" for verb, text in COMMANDS.items()]
    return [
        "usage: hvsim [--lab NAME] [--json] COMMAND ...",
        "",
        "A Xen host made of ordinary Linux processes.",
        "",
        *lines,
        "",
        "A command addresses the only running lab, or the one named by --lab or",
        "HVSIM_LAB. --lab and --json may stand before the command or after it.",
        "`hvsim COMMAND --help` explains a command and shows an example.",
        "",
        "example:",
        "  hvsim up configs/two-tier.toml",
        "  hvsim xl list",
        "  hvsim down",
    ]


if __name__ == "__main__":
    sys.exit(main())
