"""What passes between the spawner of walled domains, the walls, and who asked for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hvsim.spawn.sandbox.skeleton import Skeleton


@dataclass(frozen=True)
class Executables:
    """What a process gets in order to run programs of the machine.

    Attributes:
        store: the socket of the domain's own door to xenstored, None without one.
        hosts: name -> address of the lab's guests.
    """

    store: str | None = None
    hosts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """What the spawner of the walled domains hands to its children.

    Attributes:
        proc: descriptor of the machine's /proc, which is out of sight.
        ids: user and group of who runs the lab.
        spare_ids: whether there are ids for domains of their own: that is root.
        guests, networked, programs: the skeletons: of a domain, of one with a network stack of its
            own, and of a process that runs programs.
        joined: pidfd of the domain's first process, for a further one.
        below: descriptor of the process namespace of the domain's programs, for a further process.
    """

    proc: int
    ids: tuple[int, int]
    spare_ids: bool
    guests: Skeleton
    networked: Skeleton
    programs: Skeleton
    joined: int | None = None
    below: int | None = None

    def skeleton(self, executables: bool, network: bool) -> Skeleton:
        """The one for such a process."""
        if executables:
            return self.programs
        return self.networked if network else self.guests


@dataclass(frozen=True)
class Where:
    """How far apart a process is.

    Attributes:
        own_root, own_user, own_network: it has a root directory, a user and a network namespace
            of its own.
        own_uid: it has a user id of its own on the machine.
        lacking: what programs must do without, which is no wall.
    """

    own_root: bool = False
    own_user: bool = False
    own_network: bool = False
    own_uid: bool = False
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """Attributes:
    missing: the walls that do not stand, one short text each: "name: why".
    lacking: what a program must do without beside that.
    """

    missing: list[str]
    lacking: tuple[str, ...]
