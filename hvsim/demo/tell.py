"""What the demo prints: chapters, tables of the lab itself, and the verdict."""

from collections.abc import Callable, Iterable

from hvsim.demo.result import Kill, Result
from hvsim.lab.up import Running
from hvsim.speak import counter, tell
from hvsim.xs.blocking import SocketStore
from hvsim.xs.client import StoreNotFound


class Teller:
    """Prints a story; a silent one (--json) prints nothing."""

    def __init__(self, silent: bool = False) -> None:
        self.silent = silent
        self._chapter = 0

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self._chapter += 1
        self.line()
        self.line(f"{self._chapter}. {title}")

    def line(self, text: str = "") -> None:
        """One line, out at once."""
        if not self.silent:
            tell(text)

    def block(self, lines: Iterable[str]) -> None:
        """Indented lines."""
        for line in lines:
            self.line(f"   {line}")

    def counter(self, text: str) -> None:
        """A line that replaces itself on a terminal; elsewhere it is left out."""
        if not self.silent:
            counter(f"   {text}")

    def counter_done(self) -> None:
        """End such a line."""
        if not self.silent:
            counter("")


def half(store: SocketStore, path: str) -> list[str]:
    """One half of a device pair, key by key with permissions, as `xenstore ls -p` shows it."""
    lines = [path]
    try:
        keys = sorted(store.directory(path))
    except StoreNotFound:
        return [*lines, "  (is not there)"]
    for key in keys:
        try:
            value = store.read(f"{path}/{key}")
            perms = ",".join(store.get_perms(f"{path}/{key}"))
        except StoreNotFound:
            continue
        said = f'{key} = "{value}"'
        lines.append(f"  {said:<58} ({perms})")
    return lines


def kill_story(kill: Kill, disk: str) -> list[str]:
    """What happened after one SIGKILL, step by step."""
    lines = [f"  +{0:7.1f} ms  SIGKILL to storage (domain {kill.old_domid})"]
    lines += [f"  +{moment:7.1f} ms  {what}" for moment, what in kill.steps]
    if kill.recovery_ms is None:
        return [*lines, f"{disk} never came back"]
    lines.append(
        f"  +{kill.recovery_ms:7.1f} ms  {disk} is Connected to domain {kill.new_domid}; "
        "what was unanswered is issued again"
    )
    if kill.commit_gap_ms is not None:
        lines.append(f"  +{kill.commit_gap_ms:7.1f} ms  the next commit is acknowledged")
    return lines


def walls_missing(running: Running) -> list[str]:
    """A line for each domain that this machine does not allow all of its walls."""
    return [
        f"{name} runs without all of its walls: {', '.join(missing)}"
        for name, missing in running.walls.items()
    ]


def verdict(result: Result, say: Callable[[str], None]) -> None:
    """The last words."""
    say(f"commits acknowledged  {result.acknowledged}")
    say(f"commits found         {result.found}")
    say(f"integrity_check       {result.integrity}")
    recoveries = result.recoveries()
    if recoveries:
        median = result.as_json()["recovery_ms_median"]
        say(
            f"kills survived        {len(recoveries)} of {len(result.kills)}, back within "
            f"{median:.0f} ms (median), {max(recoveries):.0f} ms (longest)"
        )
