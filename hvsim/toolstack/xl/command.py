"""What every xl command gets, and the words that they share."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hvsim.toolstack.context import Toolstack
from hvsim.toolstack.errors import ERROR_INVAL, ToolstackError
from hvsim.toolstack.reply import Reply
from hvsim.toolstack.store import Reader


@dataclass(frozen=True, slots=True)
class Call:
    """One command line.

    Attributes:
        args: the words after the verb.
        cwd: what relative file names are relative to.
        json: the listing is wanted as data.
        force: ``xl -f``.
    """

    toolstack: Toolstack
    reply: Reply
    args: Sequence[str]
    cwd: str = "/"
    json: bool = False
    force: bool = False

    async def data(self, rows: Any) -> int:
        """Answer with data: as JSON text, and as the answer's data."""
        await self.reply.json(rows)
        return 0


@dataclass(frozen=True, slots=True)
class Command:
    """A verb of xl.

    Attributes:
        summary, usage, options: as ``xl help`` prints them.
        example: for ``hvsim xl VERB --help``.
        wanted: arguments that it needs at least.
    """

    name: str
    summary: str
    usage: str
    run: Callable[[Call], Awaitable[int]]
    options: str = ""
    wanted: int = 0
    example: str = ""

    def help(self, globals_: str = "[-vtTf]") -> str:
        """What ``xl help VERB`` prints."""
        text = f"Usage: xl {globals_} {self.name} {self.usage}\n\n{self.summary}.\n"
        if self.options:
            text += f"\nOptions:\n\n{self.options}\n"
        if self.example:
            text += f"\nExample:\n\n    {self.example}\n"
        return text


class UsageError(ToolstackError):
    """A command line that makes no sense; xl's usage follows, exit code 2."""


def options(
    args: Sequence[str], short: str = "", long: Sequence[str] = ()
) -> tuple[set[str], list[str]]:
    """Split a command line into flags and the rest, as getopt does.

    Raises: UsageError for a flag that is not one of *short* or *long*.
    """
    flags: set[str] = set()
    rest: list[str] = []
    words = list(args)
    while words:
        word = words.pop(0)
        if word == "--":
            return flags, rest + words
        if word.startswith("--"):
            if word[2:] not in (*long, "json"):
                raise UsageError(f"xl: unrecognized option '{word}'")
            flags.add(word[2:])
        elif word.startswith("-") and len(word) > 1:
            for letter in word[1:]:
                if letter not in short:
                    raise UsageError(f"xl: invalid option -- '{letter}'")
                flags.add(letter)
        else:
            rest.append(word)
    return flags, rest


INVALID: Final = "{0} is an invalid domain identifier (rc={1})"


async def find_domain(call: Call, store: Reader, text: str) -> int:
    """The domain that a command line names; a number stands for itself.

    Raises: ToolstackError in xl's words, exit code 1.
    """
    domid = await call.toolstack.find(store, text)
    if domid is None:
        raise ToolstackError(INVALID.format(text, ERROR_INVAL))
    return domid
