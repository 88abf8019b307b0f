"""Who makes the runs: processes of this machine, or workers of Dask, on as many machines as it has.

Both are executors (`concurrent.futures`); whoever schedules them, it is not us.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor
from contextlib import contextmanager
from typing import Final

from hvsim.errors import HvsimError
from hvsim.explore.mortal import Mortals

_LEFT: Final = "`hvsim labs` where they ran shows whether labs of theirs are left"


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def local(jobs: int) -> Iterator[Executor]:
    """So many processes, which end with the block: what they run is run to its end, so that no lab
    stays behind, and what nobody has begun is forgotten."""
    pool = Mortals(jobs)
    try:
        yield pool
    except BrokenExecutor:
        raise HvsimError(
            "explore: a worker has died, perhaps for want of memory; `hvsim labs` shows whether "
            "its lab is left"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def dask(address: str) -> Iterator[tuple[Executor, int, Callable[[], None]]]:
    """Those of the scheduler at *address*, how many runs they make at once, and a look whether any
    is left (`explore`'s): a run waits for the next one to come, without an end.

    They need this hvsim, and the scenario's file at the same path.  Raises: HvsimError.
    """
    try:
        from distributed import Client
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise HvsimError(
            "explore: Dask is not installed: `pip install 'hvsim[scale]'` (or leave out --dask)"
        ) from None
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as failure:
        raise HvsimError(f"explore: no Dask scheduler at {address}: {failure}") from None
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise HvsimError(f"explore: the Dask scheduler at {address} has no workers")
        whose = f"explore: the workers of the Dask scheduler at {address}"

        def look() -> None:
            if not client.nthreads():
                raise HvsimError(f"{whose} are gone; {_LEFT}")

        executor = client.get_executor(pure=False)
        try:
            yield executor, threads, look
        except KilledWorker as killed:
            why = f"have died of a run, perhaps for want of memory: {killed}"
            raise HvsimError(f"{whose} {why}; {_LEFT}") from None
        except (CancelledError, CommClosedError):
            raise HvsimError(f"explore: the Dask scheduler at {address} is gone") from None
        finally:
            # Its own block would wait for what is open, perhaps without an end; runs that have
            # begun take their labs down all the same.
            executor.shutdown(wait=False)
