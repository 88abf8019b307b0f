"""The rows of a picture of a host: those of ``hvsim/wire/picture.py``, and what others than the
toolstack are asked for.

Apart from what is made of them (`model`): a command that prints a picture needs no types.
"""

from typing import Annotated, NotRequired, TypedDict

from hvsim.wire.picture import DomainRow, HoldingsRow, ProcessRow, TroubleRow, WaitRow


class LastAct(TypedDict):
    """What a domain did last, as the hypervisor's ledger has it."""

    seq: Annotated[int, "number of the record"]
    time: Annotated[float, "Unix seconds"]
    kind: Annotated[str, "kind of the record"]
    text: Annotated[str, "the record in words"]


class SeenDomain(DomainRow):
    """A domain, with what is asked of others than the toolstack."""

    last_words: NotRequired[Annotated[list[str], "the end of its console, when it has crashed"]]
    holdings: NotRequired[Annotated[HoldingsRow, "ports and grants (ps --full)"]]
    last_acts: NotRequired[Annotated[list[LastAct], "what it did last (ps --full)"]]


class Picture(TypedDict):
    """The whole host."""

    lab: Annotated[str, "name of the lab"]
    processes: Annotated[list[ProcessRow], "who is no domain"]
    domains: Annotated[list[SeenDomain], "the domains, by number"]
    waits: Annotated[list[WaitRow], "who waits for whom"]
    troubles: Annotated[list[TroubleRow], "who stands still, has died or is given up"]
    lost: Annotated[str, "why there is no store any more; empty while there is one"]
    source: Annotated[str, "who told this: toolstack, hypervisor or /proc"]
    unknown: Annotated[str, "what could not be told, and why"]
