"""Three guests and a secret: who has it, who may read it and goes, and who comes to its number.

Domain 2 has it and lets domain 1 read it.  The first domain 1 reads it and ends; the next has not
been allowed anything, and tells what it was told.
"""

from __future__ import annotations

from hvsim.domain import Domain
from hvsim.xs.client import StoreError

SECRET = "/local/domain/2/data/secret"
FRIEND = 1


def owner(dom: Domain) -> None:
    """Allow the friend to read it, until the shutdown request."""
    dom.store.write(SECRET, "42")
    dom.store.set_perms(SECRET, [f"n{dom.domid}", f"r{FRIEND}"])
    dom.ready()
    dom.serve()


def friend(dom: Domain) -> None:
    """Read it, and end."""
    dom.ready()
    while not _told(dom):
        dom.sleep(0.02)
    dom.log("the friend was told")
    dom.sleep(0.01)


def stranger(dom: Domain) -> None:
    """Ask for it again and again."""
    dom.ready()
    while dom.shutdown_requested is None:
        said = "told" if _told(dom) else "kept"
        dom.log(f"secret {SECRET} {said}")
        dom.sleep(0.005)


def _told(dom: Domain) -> bool:
    try:
        return dom.store.read(SECRET) == "42"
    except StoreError:
        return False
