"""A program that uses the device nodes badly gets what Linux would give it, and harms nobody.

What is expected is from Linux 6.1 drivers/xen/{evtchn,gntdev,gntalloc,privcmd}.c (and mm/mmap.c for
mappings), and from Xen's common/ where Linux passes the hypervisor's answer on.  Marked *ours* is
where this house differs; docs/real-programs.md lists those places.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.domain.grants import GrantInUse
from tests.devnodes.running import Programs, build
from tests.support import optional
from tests.support.hv import Hypervisor

pytestmark = pytest.mark.interop

EVTCHN = {
    "unknown": "ENOSYS",  # evtchn_ioctl: default
    "unknown-wild": "ENOSYS",
    "tcgets": "ENOSYS",
    "virq-null": "EFAULT",
    "virq-none": "EINVAL",  # EVTCHNOP_bind_virq
    "virq-of-dom0": "EPERM",  # ours: Xen lets a guest bind it, and never rings it
    "no-domain": "ESRCH",
    "port-of-another": "EINVAL",
    "inter-wild": "EFAULT",
    "unbind-not-bound": "ENOTCONN",
    "unbind-no-port": "EINVAL",
    "notify-not-bound": "ENOTCONN",
    "notify-wild": "EFAULT",
    "notify-own": "0",
    "notify-of-other-file": "ENOTCONN",
    "unbind-of-other-file": "ENOTCONN",
    "write-nonsense": "12",
    "read-nothing": "EAGAIN",
    "unbind-own": "0",
    "unbind-twice": "ENOTCONN",
    "mmap": "ENODEV",
    "lseek": "ESPIPE",
    "reset": "0",
    "restrict-0": "EINVAL",
    "restrict": "0",
    "restrict-again": "EACCES",
    "restricted-bind": "EACCES",
    "restricted-virq": "EACCES",
    "closed": "EBADF",
}
GNTDEV = {
    "unknown": "ENOTTY",
    "set-max": "ENOTTY",  # gone from Linux; libxengnttab takes it for success
    "map-null": "EFAULT",
    "map-0": "EINVAL",  # gntdev_test_page_count
    "map-huge": "EINVAL",
    "map-beyond-memory": "EFAULT",
    "map-alien": "0",  # a map is only a list ...
    "mmap-alien": "EINVAL",  # ... and mmap finds out
    "map-no-domain": "0",
    "mmap-no-domain": "EINVAL",
    "map-no-ref": "0",
    "mmap-no-ref": "EINVAL",
    "map-readonly": "0",
    "mmap-readonly-for-writing": "EINVAL",
    "mmap-readonly": "0",
    "mprotect-readonly": "EACCES",  # ours: the extent is sealed; Linux faults at the first write
    "clear-byte-of-readonly": "EINVAL",
    "mmap-private": "EINVAL",
    "mmap-misaligned": "EINVAL",
    "mmap-longer": "EINVAL",
    "mmap-nothing": "EINVAL",
    "mmap-elsewhere": "EINVAL",
    "mmap-far-away": "EINVAL",
    "mmap": "0",
    "mmap-twice": "EINVAL",  # map->in_use
    "sees": "0",
    "grow": "EFAULT",  # VM_DONTEXPAND
    "touched-by-a-child": "signal 11",  # VM_DONTCOPY, as on a PV kernel
    "offset-of-nothing": "EINVAL",
    "offset-wild": "EFAULT",
    "offset": "0",
    "offset-is": "1",
    "notify-action": "EINVAL",
    "notify-port": "EINVAL",  # evtchn_get
    "notify-elsewhere": "ENOENT",
    "notify-wild": "EFAULT",
    "unmap-nothing": "ENOENT",
    "unmap-more": "ENOENT",
    "unmap-while-mapped": "0",
    "unmap-twice": "ENOENT",
    "still-sees": "0",
    "munmap": "0",
    "munmap-twice": "0",
    "touched-after-munmap": "signal 11",
    "copy-null": "EFAULT",
    "copy-wild-segments": "EFAULT",
    "copy-huge": "EFAULT",
    "copy-beyond-page": "EINVAL",
    "copy-to-nowhere": "EFAULT",
    "copy-alien": "0",  # the status says it
    "copy-alien-status": "99",  # 100 + GNTST_general_error
    "copy": "0",
    "copy-sees": "0",
    "copy-to-readonly": "0",
    "copy-to-readonly-status": "99",
    "close-while-mapped": "0",
    "sees-after-close": "0",
    "ioctl-by-dup": "0",
    "sees-after-last-close": "0",
    "mapped-over": "1",
}
GNTALLOC = {
    "unknown": "ENOTTY",
    "null": "EFAULT",
    "huge": "ENOMEM",  # kcalloc
    "many": "ENOSPC",  # limit
    "none": "0",
    "answer-beyond-memory": "EFAULT",
    "two": "0",
    "mmap-elsewhere": "ENOENT",
    "mmap-private": "EINVAL",
    "mmap-misaligned": "EINVAL",
    "mmap-longer": "ENOENT",
    "mmap": "0",
    "mmap-second": "0",
    "touched-by-a-child": "17",  # inherited: an ordinary page of the domain
    "dealloc-elsewhere": "EINVAL",
    "dealloc-wild": "EFAULT",
    "notify-elsewhere": "ENOENT",
    "notify-action": "EINVAL",
    "notify-port": "EINVAL",
    "dealloc-while-mapped": "0",
    "dealloc-twice": "EINVAL",
    "still-there": "17",
    "there-after-close": "17",
}
PRIVCMD = {
    "unknown": "ENOTTY",
    "dm-op": "ENOTTY",  # as before Linux 4.11
    "hypercall-null": "EFAULT",
    "no-hypercall": "ENOSYS",
    "version": str(4 << 16 | 17),
    "version-wild": "EFAULT",
    "domctl": "EPERM",
    "pause-the-peer": "EPERM",
    "domctl-version": "EACCES",
    "domctl-wild": "EFAULT",
    "sysctl": "EPERM",
    "status-of-nothing": "EINVAL",
    "status-of-the-peer": "EPERM",
    "batch-null": "EFAULT",
    "batch-unmapped": "EINVAL",
    "mmap": "0",
    "touched-by-a-child": "signal 11",  # VM_DONTCOPY
    "batch-0": "EINVAL",
    "batch-huge": "EINVAL",
    "batch-beyond": "EINVAL",
    "batch-wild-frames": "EFAULT",
    "batch-without-rights": "0",  # each frame has its own errno
    "batch-without-rights-error": "EPERM",
    "munmap": "0",
    "restrict": "0",
    "restrict-other": "EINVAL",
    "restricted-hypercall": "EPERM",
    # Each seen red without the question in privcmd's _batch and _mmap_frames.
    "restricted-batch-of-other": "EPERM",
    "restricted-old-batch-of-other": "EPERM",
    "restricted-mmap-of-other": "EPERM",
    "restricted-batch": "0",
}
REST = {
    "threads.bad": "0",
    "open.no-node": "ENOENT",
    "open.directory": "EISDIR",
    "access.node": "0",
    "access.no-node": "ENOENT",
    "open.not-dom0": "ENOENT",
    "fork.ioctl-in-the-child": "5",
    "exec.notify": "0",
    "exec.notify-not-bound": "ENOTCONN",
    "exec.wrong-node": "ENOSYS",
    "exec.status": "0",
    "closed-all.reopen": "1",
    "closed-range.reopen": "1",
    "done": "0",
}
EXPECTED = {
    **{f"evtchn.{name}": result for name, result in EVTCHN.items()},
    **{f"gntdev.{name}": result for name, result in GNTDEV.items()},
    **{f"gntalloc.{name}": result for name, result in GNTALLOC.items()},
    **{f"privcmd.{name}": result for name, result in PRIVCMD.items()},
    **REST,
}
NOBODY = 65534


class Scene:
    """A victim that grants pages to a program's domain, and one to a third."""

    def __init__(self, hv: Hypervisor) -> None:
        self.victim, self.user, third = hv.domain(), hv.domain(), hv.domain()
        self.page, self.readonly, self.secret = (self.victim.memory.allocate(1) for _ in range(3))
        for extent, text in (
            (self.page, b"victim"),
            (self.readonly, b"victim"),
            (self.secret, b"secret"),
        ):
            extent.view[: len(text)] = text
        grant = self.victim.grants.grant
        self.good = grant(self.user.domid, self.page.gfn(0))
        self.ro = grant(self.user.domid, self.readonly.gfn(0), readonly=True)
        self.alien = grant(third.domid, self.secret.gfn(0))
        self.port = self.victim.events.alloc_unbound(third.domid)
        self.own_ports = self.user.events.ports()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that any user may enter; what is built in it includes these headers."""
    optional.header("xen/sys/evtchn.h")
    path = Path(tempfile.mkdtemp(prefix="hv-nodes-", dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def readable_by_all(path: Path) -> bool:
    """Whether another user can load a library at *path*."""
    return all(part.stat().st_mode & 1 for part in path.parents) and bool(path.stat().st_mode & 4)


@pytest.mark.parametrize("user", [None, NOBODY], ids=["as who runs the test", "as nobody"])
def test_every_bad_use_has_its_errno_and_no_victim(folder: Path, user: int | None) -> None:
    """Red, each seen once: with BAD_ARGUMENT ignored in ``server.ioctl`` (wild pointers answer
    EIO), without ``Ports.hold``'s check (notify-port), without MADV_DONTFORK in ``calls.c``
    (touched-by-a-child), without ``is_hidden`` in ``close`` (closed-all.reopen ends the program).
    """
    if user is not None and (os.geteuid() != 0 or not readable_by_all(optional.node_library())):
        user = None  # the test itself runs as an ordinary user then, or nobody can load the library
    program = build(folder, "baduse", "-lpthread")
    with Hypervisor(folder) as hv, Programs(hv) as programs:
        scene = Scene(hv)
        numbers = (scene.victim.domid, scene.good, scene.ro, scene.alien, scene.port)
        status, text = programs.run(scene.user, [program, *map(str, numbers)], user=user)
        said = dict(line.split(" ", 1) for line in text.splitlines())
        assert {name: said.get(name) for name in EXPECTED} == EXPECTED
        assert (set(said) - set(EXPECTED), status) == (set(), 0)

        assert bytes(scene.page.view[:8]) == b"victim\0\0"
        assert bytes(scene.readonly.view[:8]) == b"victim\0\0"
        for ref in (scene.good, scene.ro, scene.alien):
            scene.victim.grants.end_access(ref)  # raises while anybody maps it
        assert nothing_is_left(programs, scene)


def nothing_is_left(programs: Programs, scene: Scene) -> bool:
    """Whether a domain holds nothing for a program that has ended (waits for the last of it)."""
    user = scene.user

    def held() -> tuple[int, int, list[int]]:
        return user.mapper.live_pages, user.grants.in_use, user.events.ports()

    programs.until(lambda: held() == (0, 0, scene.own_ports), "the end of what the program had")
    return True


def test_who_is_killed_is_told_of(folder: Path) -> None:
    """UNMAP_NOTIFY of both grant nodes, when the program had no time to say anything.

    Red when ``GrantArea.page_gone`` does not clear the byte, and when ``GntdevFile._put`` or
    ``GrefPool.put`` does not ring.
    """
    program = build(folder, "hold")
    with Hypervisor(folder) as hv, Programs(hv) as programs:
        scene = Scene(hv)
        rung: set[str] = set()
        unbound = scene.victim.events.alloc_unbound
        ports = [
            unbound(scene.user.domid, lambda: rung.add("of the page that was mapped")),
            unbound(scene.user.domid, lambda: rung.add("of the page that was granted")),
        ]
        argv = [program, *map(str, (scene.victim.domid, scene.good, *ports))]
        running = programs.start(scene.user, argv)
        said = programs.lines(running, 3)
        assert said[:2] == ["hold.notify 0", "hold.notify-own 0"]
        theirs = scene.victim.mapper.map(scene.user.domid, int(said[2].split()[1]))
        assert (scene.page.view[9], theirs.view[10]) == (1, 1)
        with pytest.raises(GrantInUse):
            scene.victim.grants.end_access(scene.good)
        rung.clear()

        running.stop()
        programs.until(lambda: not scene.page.view[9] and not theirs.view[10], "the bytes")
        programs.until(lambda: len(rung) == 2, "both events")
        assert scene.user.mapper.live_pages == 0
        # The page that the victim still maps is kept for it, and its reference not given out.
        assert scene.user.grants.in_use == 1
        theirs.unmap()
        running.server.close()
        assert scene.user.grants.in_use == 0


def test_pages_lie_side_by_side_in_the_order_of_their_grants(folder: Path) -> None:
    """Also those of several extents, and a part of them can be unmapped again.

    Red when ``areas.c`` takes pages of one extent for a run whatever their numbers are, and when
    it forgets a whole area for a part of it.
    """
    program = build(folder, "scatter")
    with Hypervisor(folder) as hv, Programs(hv) as programs:
        victim, user = hv.domain(), hv.domain()
        text = b"abcdefgh"
        extents = [victim.memory.allocate(4) for _ in range(2)]
        for number, byte in enumerate(text):
            extents[number // 4].page(number % 4)[0] = byte
        refs = {
            byte: victim.grants.grant(user.domid, extents[number // 4].gfn(number % 4))
            for number, byte in enumerate(text)
        }
        wanted = b"ahgbcfdea"
        argv = [program, str(victim.domid), *(str(refs[byte]) for byte in wanted)]
        running = programs.start(user, argv)
        assert programs.lines(running, 5) == [
            "scatter.map 0",
            "scatter.mmap 0",
            "scatter.sees ahgbcfdea",
            "scatter.munmap-middle 0",
            f"scatter.last {ord('a')}",
        ]
        victim.grants.end_access(refs[ord("h")])
        with pytest.raises(GrantInUse):
            victim.grants.end_access(refs[ord("g")])
