"""What becomes of a lab whose start fails: the evidence is kept, and the lab removed, whole."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from hvsim import shortage
from hvsim.errors import HvsimError
from hvsim.lab import burial, logs, postmortem
from hvsim.lab.burial import Gather
from hvsim.lab.launch import Child
from hvsim.lab.rundir import RunDir
from hvsim.lab.teardown import take_down
from hvsim.toolstack.host.trouble import full_disk
from hvsim.xs.requests import StoreError


class UpError(HvsimError):
    """A domain could not be created, or the lab did not become ready."""


class NotStarted(UpError):
    """A domain does not start on this machine.  The text is one sentence with the remedy; no log
    knows more."""


def bury(run: RunDir, gather: Gather, say: Callable[[str], None]) -> None:
    """What is left of a lab of that name that has died is about to be cleared away: keep what it
    tells."""
    if run.path.is_dir():
        burial.bury(run, gather, say)


@contextlib.contextmanager
def undone(run: RunDir, gather: Gather, leave: bool) -> Iterator[list[Child]]:
    """On any exception keep the evidence, then end and remove the lab, whole, even when Ctrl-C
    comes twice; with *leave* it stays as it is.

    Children of ours belong into the list that this yields: they are waited for then.
    """
    started: list[Child] = []
    try:
        yield started
    except BaseException as error:
        # Of Ctrl-C and of faults of ours the logs say nothing.
        if not isinstance(error, HvsimError | StoreError | OSError):
            _remove(run, started)
            raise
        lines = list(error.lines) if isinstance(error, HvsimError) else [_words(error)]
        if (full := full_disk(run.path)) and not any(full in line for line in lines):
            lines.insert(0, full)
        try:
            tail = [] if isinstance(error, NotStarted) else _logs(run)
            evidence = gather(run)
        except BaseException:
            _remove(run, started)
            raise
        if leave:
            with contextlib.suppress(OSError):  # the disk may be full
                run.write(state="failed", launcher=None)
            tail.append(
                f"the lab is left as it is: `hvsim --lab {run.name} ps` looks at it, `hvsim down "
                f"{run.name}` ends it"
            )
        else:
            _remove(run, started)
        raise UpError(*lines, *tail, _keep(run, lines, evidence)) from error


def _words(error: Exception) -> str:
    plain = isinstance(error, OSError) and not isinstance(error, StoreError)
    return shortage.words(error) if plain else str(error)  # type: ignore[arg-type]


def _remove(run: RunDir, started: Sequence[Child]) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        take_down(run, now=True)
    if run.path.exists():  # a second Ctrl-C came in the middle of it
        take_down(run, now=True)
    for process in started:
        process.wait()


def _keep(run: RunDir, why: Sequence[str], evidence: Mapping[str, bytes]) -> str:
    """Keep what was gathered, now that the run directory needs no room any more; the last line for
    the reader."""
    lab_file = str(run.record.get("lab_file", ""))
    try:
        kept = postmortem.keep(run.name, lab_file, why, evidence)
    except (OSError, HvsimError) as failure:
        return f"no post-mortem is kept: {failure}; set HVSIM_STATE_DIR to a directory of yours"
    return f"post-mortem: {kept.path}; `hvsim postmortem {kept.number}` shows it"


def _logs(run: RunDir) -> list[str]:
    """The last lines of consoles and logs that may tell why: they are about to go."""
    return logs.ends((*sorted(run.console.glob("*.log")), *sorted(run.log.glob("*.log"))), 8)
