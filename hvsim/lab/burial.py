"""The last rites of a lab that has died: what can still be told of it becomes a post-mortem."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

from hvsim.errors import HvsimError
from hvsim.lab import postmortem
from hvsim.lab.rundir import RunDir

Gather = Callable[[RunDir], Mapping[str, bytes]]
"""Collects what there is of a lab: files of a post-mortem by name (``hvsim.observe.evidence``)."""


def keep(run: RunDir, gather: Gather, why: Sequence[str]) -> postmortem.Postmortem:
    """Gather what there is of the lab and keep it.  Raises: OSError, Untrusted."""
    return postmortem.keep(run.name, str(run.record.get("lab_file", "")), why, gather(run))


def keep_dead(run: RunDir, gather: Gather) -> postmortem.Postmortem | None:
    """Keep the evidence of a lab whose hypervisor has gone without ``down``, once; None when there
    is none, or it is kept already.  Raises: OSError, Untrusted."""
    run.read()
    if run.running or run.busy or run.hypervisor is None or run.record.get("postmortem"):
        return None
    kept = keep(run, gather, [f"lab {run.name} has ended: {run.why_ended()}"])
    with contextlib.suppress(OSError):
        run.write(postmortem=kept.number)
    return kept


def bury(run: RunDir, gather: Gather, tell: Callable[[str], None]) -> postmortem.Postmortem | None:
    """The same before what is left of the lab is cleared away; why it could not be kept goes to
    *tell*."""
    try:
        return keep_dead(run, gather)
    except (OSError, HvsimError) as failure:
        tell(f"no post-mortem of lab {run.name} could be kept: {failure}")
        return None
