"""A connection to a running lab's store that says who keeps it from answering."""

from functools import partial

from hvsim.lab.inquiry import Inquiry
from hvsim.lab.rundir import RunDir
from hvsim.xs.blocking import PATIENCE, SocketStore, connect
from hvsim.xs.waits import MACHINE


def open_store(
    run: RunDir,
    label: str = "CLI",
    *,
    patience: float = PATIENCE,
    grace: float = 0.0,
) -> SocketStore:
    """The store of the lab at `run`; `label` names this client in the store's trace.

    Args:
        patience: seconds to wait for a store that is being started again.
        grace: seconds of silence that are no reason to ask who stands still.

    Raises: OSError when nobody listens there. Its requests raise TimeoutError, which names who
    stands still, as soon as that is known.
    """
    store = connect(
        str(run.xenstored), label, run.name, patience=patience, waits=run.waits() or MACHINE
    )
    store.transport.on_silence = partial(Inquiry(run).store_words, grace=grace)
    return store
