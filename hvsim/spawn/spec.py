"""What the spawner asks of a spawn message beyond its types."""

from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import BadMessage, read
from hvsim.wire.walls import WALLS


def parse(raw: object) -> Spawn:
    """Check a spawn request, unpacked.  Raises: BadMessage."""
    spec = read(Spawn, raw)
    if not spec.name:
        raise BadMessage("name: a text is wanted")
    if spec.exec and not spec.stdio:
        raise BadMessage("stdio: a program needs the socket that brings its descriptors")
    if not spec.exec and not spec.program:
        raise BadMessage("program: a text is wanted")
    if unknown := [wall for wall in spec.without if wall not in WALLS]:
        raise BadMessage(f"without: {unknown[0]!r} is none of {', '.join(WALLS)}")
    return spec
