"""Something that is under way, for everybody who waits for its end."""

import anyio


class Job:
    """One piece of work, carried out by somebody else."""

    def __init__(self) -> None:
        self._done = anyio.Event()
        self._failure: Exception | None = None

    async def wait(self) -> None:
        """Until it is done.  Raises: what it failed with."""
        await self._done.wait()
        if self._failure is not None:
            raise self._failure

    def end(self, failure: Exception | None) -> None:
        """It is done."""
        self._failure = failure
        self._done.set()
