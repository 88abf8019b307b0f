"""What `hvsim ps` prints of what a domain holds."""

from hvsim.observe.ps_words import lines
from hvsim.observe.rows import Picture, SeenDomain
from hvsim.wire.picture import DomainRow, GrantRow, HoldingsRow
from tests.observe.test_model import DOMAIN, edge


def grant(ref: int, peer: int, writers: int = 1) -> GrantRow:
    return {"ref": ref, "peer": peer, "gfn": ref, "readers": 0, "writers": writers}


def copy(row: DomainRow) -> SeenDomain:
    seen: SeenDomain = row.copy()  # type: ignore[assignment]
    return seen


def picture() -> Picture:
    return {
        "lab": "one",
        "processes": [],
        "domains": [copy(DOMAIN)],
        "waits": [],
        "troubles": [],
        "lost": "",
        "source": "toolstack",
        "unknown": "",
    }


def test_neighbours_share_a_line() -> None:
    """Red without the peer, or the way it is mapped, in the comparison."""
    seen = picture()
    seen["domains"][0]["holdings"] = HoldingsRow(
        domid=1,
        ports=[],
        grants=[grant(0, 0), grant(8, 2), grant(9, 2), grant(10, 3), grant(11, 3, 0)],
        mapped=1,
        users=5,
    )
    assert lines(seen)[-4:] == [
        "    grant 0: mapped by domain 0 to write",
        "    grants 8 to 9: mapped by domain 2 to write",
        "    grant 10: mapped by domain 3 to write",
        "    grant 11: mapped by domain 3 to read",
    ]


def test_who_is_behind_the_one_that_is_waited_for() -> None:
    seen = picture()
    seen["waits"] = [edge("web", "db"), edge("db", "storage")]
    assert lines(seen)[-2:] == [
        "web xvda waits for db: paused; db itself waits for storage",
        "db xvda waits for storage: paused",
    ]
