"""What every xl command gets, and the words that they share."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.errors import ERROR_INVAL, ToolstackError
from hvsim.toolstack.host.reply import Reply
from hvsim.toolstack.host.store import Reader
from hvsim.toolstack.xl.table import VERBS


@dataclass(frozen=True, slots=True)
class Call:
    """One command line.

    Attributes:
        args: the words after the verb.
        cwd: what relative file names are relative to.
        json: the listing is wanted as data.
        force: ``xl -f``.
        dryrun: ``xl -N``: say what would be done, and do nothing.
    """

    toolstack: Toolstack
    reply: Reply
    args: Sequence[str]
    cwd: str = "/"
    json: bool = False
    force: bool = False
    dryrun: bool = False

    async def data(self, rows: Any) -> int:
        """Answer with data: as JSON text, and as the answer's data."""
        await self.reply.json(rows)
        return 0


@dataclass(frozen=True, slots=True)
class Command:
    """A verb of xl that is built.

    Attributes:
        options: as ``xl help`` prints them; None: there are none.
        wanted: words that it needs at least, besides options.
        short, long: its options, as getopt_long has them ("ab:", ("all", "config=")).
        example: for ``hvsim xl VERB --help``.
    """

    name: str
    run: Callable[[Call], Awaitable[int]]
    short: str = ""
    long: tuple[str, ...] = ()
    wanted: int = 0
    options: str | None = None
    example: str = ""

    def parse(self, call: Call) -> "Words":
        """The command line, taken apart.  Raises: UsageError, as xl's SWITCH_FOREACH_OPT."""
        words = getopt(call.args, self.short, (*self.long, "json"))
        if len(words.rest) < self.wanted:
            count = f"{self.wanted} argument{'s' if self.wanted > 1 else ''}"
            raise UsageError(f"'xl {self.name}' requires at least {count}.", usage=True)
        return words

    def help(self, *, example: bool = False) -> str:
        """What ``xl help VERB`` and ``-h`` print; and an *example*, as ``--help`` shows."""
        text = usage(self.name, self.options)
        shown = example and self.example
        return f"{text}\nExample:\n\n    {self.example}\n" if shown else text


def usage(name: str, options: str | None = None) -> str:
    """What xl prints of a verb."""
    verb = VERBS[name]
    text = f"Usage: xl [-vtT{verb.flags}] {name} {verb.usage}\n\n{verb.summary}.\n\n"
    return text if options is None else f"{text}Options:\n\n{options}\n"


class UsageError(ToolstackError):
    """A command line that makes no sense; exit code 2.

    Attributes:
        usage: whether the verb's usage follows.
    """

    def __init__(self, *lines: str, usage: bool = False, code: int = 2) -> None:
        super().__init__(*lines, code=code)
        self.usage = usage


class Help(Exception):
    """``-h`` or ``--help`` is among the words; the long one shows an example too."""

    def __init__(self, *, long: bool = False) -> None:
        super().__init__()
        self.long = long


@dataclass(slots=True)
class Words:
    """A command line: options by name with the values that they were given ("" without one), and
    what is left."""

    options: dict[str, list[str]] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)

    def __contains__(self, name: object) -> bool:
        return name in self.options

    def any(self, *names: str) -> bool:
        """Whether one of these options was given."""
        return any(name in self.options for name in names)

    def value(self, *names: str) -> str | None:
        """The last value that was given to one of these options."""
        given = [value for name in names for value in self.options.get(name, ())]
        return given[-1] if given else None


def getopt(args: Sequence[str], short: str = "", long: Sequence[str] = ()) -> Words:
    """Split a command line into options and the rest, as getopt_long(3) does with them mixed.

    Args:
        short: letters, those that take a value followed by ":".
        long: names, those that take a value followed by "="; they may be shortened.

    Raises: Help; UsageError for an option that there is not, or without its value.
    """
    found = Words()
    words = list(args)
    while words:
        word = words.pop(0)
        if word == "--":
            found.rest += words
            break
        if word.startswith("--"):
            _long(found, word, words, long)
        elif word.startswith("-") and len(word) > 1:
            _short(found, word, words, short)
        else:
            found.rest.append(word)
    return found


def _long(found: Words, word: str, words: list[str], long: Sequence[str]) -> None:
    given, equals, value = word[2:].partition("=")
    names = {name.rstrip("="): name.endswith("=") for name in (*long, "help")}
    exact = [given] if given in names else [name for name in names if name.startswith(given)]
    if len(exact) != 1:
        raise UsageError("option `' not supported.")
    name = exact[0]
    if name == "help":
        raise Help(long=True)
    if names[name]:
        if not equals:
            if not words:
                raise UsageError("option `' not supported.")
            value = words.pop(0)
    elif equals:
        raise UsageError("option `' not supported.")
    found.options.setdefault(name, []).append(value)


def _short(found: Words, word: str, words: list[str], short: str) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter == "h":
            raise Help
        place = short.find(letter)
        if place < 0 or letter == ":":
            raise UsageError(f"option `{letter}' not supported.")
        value = ""
        if short[place + 1 : place + 2] == ":":
            if not letters and not words:
                raise UsageError(f"option `{letter}' not supported.")
            value, letters = letters or words.pop(0), ""
        found.options.setdefault(letter, []).append(value)


INVALID: Final = "{0} is an invalid domain identifier (rc={1})"


async def find_domain(call: Call, store: Reader, text: str) -> int:
    """The domain that a command line names; a number stands for itself.

    Raises: ToolstackError in xl's words, exit code 1.
    """
    domid = await call.toolstack.find(store, text)
    if domid is None:
        raise ToolstackError(INVALID.format(text, ERROR_INVAL))
    return domid
