"""What ``hvsim demo --json`` prints: typed rows, whose annotations the reference is made of."""

from typing import Annotated, NotRequired, TypedDict


class OutageRow(TypedDict):
    """One death of a driver domain of the second lab."""

    domain: Annotated[str, "whose"]
    back_ms: Annotated[float | None, "until its devices were Connected again"]
    gap_ms: Annotated[float | None, "until the next answer reached the client"]


class NetworkRow(TypedDict):
    """The second lab: a client, a web server and a database."""

    ok: Annotated[bool, "nothing lost, nothing left"]
    impossible: Annotated[str | None, "why this machine allows no network link"]
    lab: Annotated[str, "name of the lab"]
    acknowledged: Annotated[int, "commits that the client was told of"]
    found: Annotated[int, "commits in the image"]
    lost: Annotated[int, "acknowledged commits that are not in it"]
    integrity: Annotated[str, "what SQLite's integrity_check says"]
    connections_lost: Annotated[int | None, "connections of the client that broke"]
    outages: Annotated[list[OutageRow], "the deaths"]
    leftovers: Annotated[list[str], "what was left behind"]
    up_seconds: Annotated[float, "until it was ready"]
    complaints: Annotated[list[str], "everything that is wrong, in words"]


class DemoRow(TypedDict):
    """`hvsim demo --json`"""

    ok: Annotated[bool, "nothing lost, nothing left, every kill survived"]
    acknowledged: Annotated[int, "commits that stood on the guest's console"]
    found: Annotated[int, "commits in the image, read by another SQLite"]
    lost: Annotated[int, "acknowledged commits that are not in it whole"]
    integrity: Annotated[str, "what SQLite's integrity_check says"]
    kills: Annotated[int, "deaths of the storage domain"]
    recovery_ms: Annotated[list[float], "each: until both halves were Connected again"]
    recovery_ms_median: Annotated[float | None, "of these"]
    recovery_ms_max: Annotated[float | None, "of these"]
    commit_gap_ms: Annotated[list[float], "each: until the next commit was acknowledged"]
    commit_gap_ms_median: Annotated[float | None, "of these"]
    leftovers: Annotated[list[str], "what was left behind"]
    seed: Annotated[int, "picks the moments of the kills"]
    lab: Annotated[str, "name of the lab"]
    up_seconds: Annotated[float, "until it was ready"]
    orderly_shutdown: Annotated[bool, "whether the guest ended when it was asked to"]
    complaints: Annotated[list[str], "everything that is wrong, in words"]
    network: NotRequired[Annotated[NetworkRow, "the second lab, where it was told"]]
