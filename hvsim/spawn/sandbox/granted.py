"""What the lab grants to one domain, laid over its skeleton: images, devices, programs.

A granted path is there under its own name and nothing beside it.  In a lab that root runs the
domain is somebody else than the owner of the file, who may be the only one with a right to it; so
it is shown through an *id map* (mount_setattr(2), MOUNT_ATTR_IDMAP), in which the owner is the
domain.  Not every file system can do that; then the domain does not start, and is told why.
A device is made anew as a node of the domain's own, since devtmpfs is one of those that cannot.
"""

import errno
import os
import signal
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from hvsim.spawn.sandbox import identity, mounts, skeleton
from hvsim.spawn.sandbox.namespaces import FLAGS, host_pid, raw_clone
from hvsim.spawn.sandbox.skeleton import Skeleton
from hvsim.spawn.sandbox.trail import follow, is_below

Mode = Literal["r", "rw"]
_WAY_SIZE: Final = "size=64k,nr_inodes=256,mode=755"
_NODES_SIZE: Final = "size=64k,nr_inodes=64,mode=700"


@dataclass(frozen=True)
class Grant:
    """Attributes:
    real: an existing path without links.
    mode: "r" or "rw".
    status: what stat(2) said of it.
    named: the lab file names it; else it is where the lab's programs are.
    """

    real: str
    mode: Mode
    status: os.stat_result
    named: bool = True

    @property
    def directory(self) -> bool:
        """Whether all below it is granted as well."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def device(self) -> bool:
        """A node, by which the kernel is reached."""
        return stat.S_ISBLK(self.status.st_mode) or stat.S_ISCHR(self.status.st_mode)

    @property
    def for_everybody(self) -> bool:
        """Whether anybody at all may do what is granted."""
        wanted = 0o4 | (0o2 if self.mode == "rw" else 0) | (0o1 if self.directory else 0)
        return self.status.st_mode & wanted == wanted

    @property
    def needs_map(self) -> bool:
        """Whether somebody else than its owner needs an id map: of a directory that was named,
        nobody knows what is in it."""
        return not self.for_everybody or (self.directory and self.named)


@dataclass(frozen=True)
class Grants:
    """Attributes:
    items: in the order in which they are laid over each other.
    links: (place, target) of the links that lead to them.
    """

    items: tuple[Grant, ...]
    links: tuple[tuple[str, str], ...]

    def onto(self, below: Skeleton, fresh: Sequence[str]) -> Skeleton:
        """The skeleton with a spot for each of them, but in *fresh* directories, where spots can
        be made later."""
        spots = tuple((one.real, one.directory) for one in self._loose(below, fresh))
        links = tuple(link for link in self.links if not _is_in(link[0], below, fresh))
        if not spots and not links:
            return below
        return replace(below, links=(*below.links, *links), spots=spots)

    def _loose(self, below: Skeleton, fresh: Sequence[str]) -> Iterable[Grant]:
        """Those that do not lie within something else that is there."""
        around: list[str] = []
        for one in self.items:
            if not _is_in(one.real, below, fresh) and not any(
                is_below(one.real, other) for other in around
            ):
                yield one
            if one.directory:
                around.append(one.real)


def _is_in(path: str, below: Skeleton, fresh: Sequence[str]) -> bool:
    return below.covers(path) or any(is_below(path, one) for one in fresh)


def plan(
    readable: Iterable[str], files: Iterable[tuple[str, Mode]], below: Skeleton, own: int | None
) -> Grants:
    """What has to be laid over the skeleton *below*.

    Args:
        readable: directories of the lab's programs; one that does not exist is passed over.
        files: what the lab grants by name, which must exist.
        own: the domain's id, when it is not that of who runs the lab.

    Raises:
        OSError: names the file that is not there.
    """
    found: dict[str, Grant] = {}
    links: dict[str, str] = {}
    programs: list[tuple[str, Mode]] = [(path, "r") for path in readable if os.path.exists(path)]
    listed = list(files)
    for number, (path, mode) in enumerate([*programs, *listed]):
        trail = follow(os.path.abspath(path))
        if is_below(trail.real, skeleton.WORKSHOP) or trail.real == "/":
            what = "the whole machine" if trail.real == "/" else f"files of {skeleton.WORKSHOP}"
            raise FileNotFoundError(errno.ENOENT, f"{what} cannot be granted", path)
        links.update(trail.links)
        grant = Grant(trail.real, mode, os.stat(path), number >= len(programs))
        if below.covers(grant.real) and mode == "r" and (own is None or grant.for_everybody):
            continue
        known = found.get(grant.real)
        if known is None or known.mode == "r":
            found[grant.real] = grant
    items = tuple(found[real] for real in sorted(found))
    # A link within what is shown as it is is there already.
    within = [*below.parts, *below.late, *(one.real for one in items if one.directory)]
    kept = {(at, to) for at, to in links.items() if not any(is_below(at, one) for one in within)}
    return Grants(items, tuple(sorted(kept - {*below.links, *below.late_links})))


def lay(grants: Grants, base: str, proc: int, own: int | None, fresh: Sequence[str]) -> None:
    """Mount them over their spots in the root directory at *base*.

    Raises:
        OSError: names the path; its text says what cannot be done with it.
    """
    late = [link for link in grants.links if any(is_below(link[0], one) for one in fresh)]
    skeleton.make_links(late, base)
    if not grants.items:
        return
    maps = IdMaps(proc, own)
    try:
        for one in grants.items:
            if any(is_below(one.real, area) for area in fresh):
                skeleton.spot(base + one.real, one.directory)
            _clear_way(one, base, grants, own)
            _lay(one, base + one.real, maps)
    finally:
        maps.close()


def _clear_way(grant: Grant, base: str, grants: Grants, own: int | None) -> None:
    """A directory on the way to *grant* may be closed to the domain, which sees it since one above
    it is shown: an empty one takes its place, in which nothing is but the grant.

    (A lab file that lies in /tmp, whose run directory is /tmp/hvsim-0.)"""
    above = [one.real for one in grants.items if one.directory and one.real != grant.real]
    shown = next((real for real in above if is_below(grant.real, real)), None)
    if own is None or shown is None:
        return
    way = shown.rstrip("/")
    for name in grant.real[len(way) :].strip("/").split("/")[:-1]:
        way += f"/{name}"
        if os.path.exists(base + way) and not _may_enter(os.stat(base + way), own):
            mounts.mount("tmpfs", base + way, mounts.MS_NOSUID | mounts.MS_NODEV, _WAY_SIZE)
            break
    skeleton.spot(base + grant.real, grant.directory)


def _may_enter(status: os.stat_result, own: int) -> bool:
    mode = status.st_mode
    return bool(mode & 0o001) or (status.st_uid == own and bool(mode & 0o100))


def _lay(grant: Grant, target: str, maps: "IdMaps") -> None:
    flags = mounts.NOSUID | (mounts.RDONLY if grant.mode == "r" else 0)
    if grant.device:
        source = grant.real if maps.own is None else maps.node(grant)
        mounts.attach(source, target, flags)
        return
    flags |= mounts.NODEV
    if maps.own is None or not grant.needs_map:
        mounts.attach(grant.real, target, flags)
        return
    try:
        idmap = maps.owner(grant.status.st_uid, grant.status.st_gid)
    except OSError as error:
        raise OSError(error.errno, error.strerror, grant.real) from None
    try:
        mounts.attach(grant.real, target, flags, idmap=idmap)
    except OSError as error:
        if not grant.for_everybody:
            raise OSError(
                error.errno,
                "its file system cannot show it to a domain under an id of its own "
                f"({os.strerror(error.errno or 0)}; ext4, xfs, btrfs and tmpfs can): move it to "
                "another one, or let everybody "
                f"{'read and write' if grant.mode == 'rw' else 'read'} it",
                grant.real,
            ) from None
        mounts.attach(grant.real, target, flags)


class IdMaps:
    """How what belongs to others becomes a domain's own, whose id is *own*: nodes of devices, and
    user namespaces that are nothing but a map, from a file's owner to the domain."""

    def __init__(self, proc: int, own: int | None) -> None:
        self.own = own
        self._proc = proc
        self._known: dict[tuple[int, int], int] = {}
        self._nodes = 0

    def close(self) -> None:
        """Mounts that use them keep them."""
        for fd in self._known.values():
            os.close(fd)
        self._known.clear()

    def owner(self, uid: int, gid: int) -> int:
        """The descriptor of the map for this owner.  Raises: OSError."""
        assert self.own is not None
        if (uid, gid) not in self._known:
            self._known[uid, gid] = self._make(f"{uid} {self.own} 1", f"{gid} {self.own} 1")
        return self._known[uid, gid]

    def node(self, grant: Grant) -> str:
        """A node for the same device.  Raises: OSError."""
        assert self.own is not None
        if not self._nodes:
            mounts.mount("tmpfs", skeleton.NODES, mounts.MS_NOSUID, _NODES_SIZE)
        path = f"{skeleton.NODES}/{self._nodes}"
        self._nodes += 1
        kind = stat.S_IFMT(grant.status.st_mode)
        os.mknod(path, kind | (0o600 if grant.mode == "rw" else 0o400), grant.status.st_rdev)
        os.chown(path, self.own, self.own)
        return path

    def _make(self, users: str, groups: str) -> int:
        """A process makes the namespace, and is of no more use then."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            pid = raw_clone(FLAGS["user-ns"])
            if pid == 0:
                os.close(writer)
                os.read(reader, 1)
                os._exit(0)
            pidfd = os.pidfd_open(pid)
            try:
                process = str(host_pid(self._proc, pidfd))
                identity.write_map(self._proc, process, users, groups)
                flags = os.O_RDONLY | os.O_CLOEXEC
                return os.open(f"{process}/ns/user", flags, dir_fd=self._proc)
            finally:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.waitpid(pid, 0)
                os.close(pidfd)
        except OSError as error:
            raise OSError(error.errno or errno.EIO, f"an id map: {error.strerror}") from None
        finally:
            os.close(reader)
            os.close(writer)
