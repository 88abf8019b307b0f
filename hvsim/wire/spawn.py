"""How a process of a domain is to be made: from the toolstack or the lab, through the hypervisor,
to the spawner, the child, and the domain's program."""

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from hvsim.wire.typed import Message
from hvsim.wire.walls import WHAT_THERE_IS

Count = Annotated[int, Meta(ge=0)]


class Room(Message, frozen=True):
    """Where a hotplug script of dom0 stands (``hvsim.spawn.backstage``).

    Attributes:
        network: the process whose links are meant; 0 for those of the machine.
        places: path -> directory of the lab that is to be seen there.
        mount: an empty directory of the lab.
    """

    network: Count = 0
    places: dict[str, str] = field(default_factory=dict)
    mount: str = ""


class Drivers(Message, frozen=True):
    """Drivers of classes of devices that the lab declares: type -> "module:Class"."""

    frontends: dict[str, str] = field(default_factory=dict)
    backends: dict[str, str] = field(default_factory=dict)


class Spawn(Message, frozen=True):
    """One process of a domain.

    Attributes:
        name: of its domain.
        process: its own name, of which a domain has each once; "main" speaks for a guest.
        program: "module:function", what runs in it; not for one with ``exec``.
        profile: which walls stand around it; dom0 is trusted and has none.
        path: directories in which the program's modules are found.
        files: what it may open: path, and whether to read or to write as well.
        stdout: its log; None for nowhere.
        args: of the program, which alone knows what they mean.
        walls: whether it starts where a wall cannot be raised.
        without: walls that are left out; only tests of the tests use it, and who may write this
            may as well ask for the profile "dom0".
        lab: its name.
        exec: it becomes this program of the machine, in a domain that runs already, with its
            standard descriptors over the socket ``stdio``, in ``directory``, with ``env``.
        executables: it may start programs of the machine.
        store_socket: the domain's own door to xenstored, for those programs; "" for none.
        hosts: names of the lab's guests, and their addresses, for those programs.
        net: "module:function" that brings up a network stack of its own, which it administers; ""
            for none.
        drivers: of device classes that the lab declares; None for no such.
        room: where it stands, as a hotplug script of dom0.
        place: what is /var/lib/xen and the like to programs of dom0.
        main, store, console: whether it speaks for its domain, has its own connection to the store,
            and a console; decided by profile and process unless given.
        grant_slot: which part of the grant table is its own.

    Said by the hypervisor:
        domid: of its domain.
        pages: the domain's RAM.
        cgroup: the files through which it enters the cgroups that count what it takes.

    Said by the child:
        counted: whether it is in those.
    """

    name: str = ""
    process: str = ""
    program: str = ""
    profile: Literal["guest", "driver", "dom0"] = "guest"
    path: tuple[str, ...] = ()
    files: tuple[tuple[str, Literal["r", "rw"]], ...] = ()
    stdout: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    walls: Literal["all", "what-there-is"] = "all"
    without: tuple[str, ...] = ()
    lab: str = ""
    exec: tuple[str, ...] = ()
    stdio: str = ""
    directory: str = "/"
    env: dict[str, str] = field(default_factory=dict)
    executables: bool = False
    store_socket: str = ""
    hosts: dict[str, str] = field(default_factory=dict)
    net: str = ""
    drivers: Drivers | None = None
    room: Room | None = None
    place: str = ""
    main: bool | None = None
    store: bool | None = None
    console: bool | None = None
    grant_slot: int | None = None
    domid: Count = 0
    pages: Count = 0
    cgroup: tuple[str, ...] = ()
    counted: bool = False

    @property
    def trusted(self) -> bool:
        """dom0's own processes are as trusted as the hypervisor: no walls."""
        return self.profile == "dom0"

    @property
    def lenient(self) -> bool:
        """Whether it starts without a wall that the machine does not allow."""
        return self.walls == WHAT_THERE_IS

    @property
    def runs_programs(self) -> bool:
        """Whether programs of the machine run in it, or below it."""
        return self.executables or bool(self.exec)

    @property
    def title(self) -> str:
        """What ``ps`` shows: the domain, and which of its processes when it has several."""
        return self.process if self.trusted and self.process else self.name
