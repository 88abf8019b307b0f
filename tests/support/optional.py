"""What a machine may lack, and the Debian package that brings it: the one way for a test to ask.

::

    pytestmark = pytest.mark.interop            # or on the one test

    def test_x(lab: Commands) -> None:
        ping = optional.program("ping")         # skips: "no ping on this machine (Debian: ...)"

Everything that is not Python, pip's packages, Linux or an essential package of Debian stands in a
table here.  A test that asks bears the mark ``interop``: what has the mark is run once more on a
machine without any of it (``make test-bare``), where it must skip or pass.  Not to ask, or to ask
without the mark, is found by tests/repository/test_optional_things.py and by ``_asked`` below.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from hvsim.devnodes import library as nodes

XEN_UTILS: Final = "xen-utils-4.17"
_XEN_NAMES: Final = """
    flask-get-bool flask-getenforce flask-label-pci flask-loadpolicy flask-set-bool flask-setenforce
    init-xenstore-domain lsevtchn oxenstored pygrub readnotes test-cpu-policy test-paging-mempool
    test-resource test-tsx test-xenstore vchan-socket-proxy xen-access xen-cpuid xen-diag xen-hptool
    xen-hvmcrash xen-hvmctx xen-init-dom0 xen-kdd xen-livepatch xen-lowmemd xen-mceinj xen-memshare
    xen-mfndump xen-ucode xen-vmtrace xenconsole xenconsoled xencov xenctx xendomains xenlockprof
    xenpaging xenperf xenpm xenstore-control xenstored xentop xentrace xentrace_setsize xenwatchdogd
    xl
"""
QEMUS: Final = ("/usr/libexec/xen-qemu-system-i386", "qemu-system-i386")
"""Debian's with Xen's machine, which is on no PATH, and what one from elsewhere is called."""
XEN_PROGRAMS: Final = frozenset(_XEN_NAMES.split())
"""Programs of xen-utils, which lie in a directory of that version of Xen's."""
PROGRAMS: Final[Mapping[str, str]] = {
    # In an sbin are wrappers of the same names that pick the version of the Xen that runs.
    **dict.fromkeys(XEN_PROGRAMS, f"xen-utils-common, {XEN_UTILS}"),
    **dict.fromkeys(("gdbsx", "xen-detect", "xenalyze", "xencons", "xenhypfs", "xenpmd"),
                    "xen-utils-common"),
    **dict.fromkeys(("cc", "gcc"), "gcc, libc6-dev"),
    "clang": "clang",
    "curl": "curl",
    "fio": "fio",
    "fish": "fish",
    "ip": "iproute2",
    "iperf3": "iperf3",
    "ping": "iputils-ping",
    **dict.fromkeys(("qemu-img", "qemu-io", "qemu-nbd"), "qemu-utils"),
    **dict.fromkeys(QEMUS, "qemu-system-xen"),
    "slirp4netns": "slirp4netns",
    "tcpdump": "tcpdump",
    "tshark": "tshark",
    "zsh": "zsh",
    **{
        f"xenstore-{verb}": "xenstore-utils"
        for verb in ("chmod", "exists", "list", "ls", "read", "rm", "watch", "write")
    },
}  # fmt: skip
"""Programs on the PATH (or in an sbin), by name: the package that brings each."""
HEADERS: Final[Mapping[str, str]] = {
    # Another package has a directory xen below /usr/include as well: files are asked for.
    "xen/xen.h": "libxen-dev",
    "xen/sys/evtchn.h": "libxen-dev",
    "asm/unistd_64.h": "linux-libc-dev",
    "asm-generic/unistd.h": "linux-libc-dev",
}
MODULES: Final[Mapping[str, str]] = {"pyxs": "python3-pyxs", "xen.lowlevel.xs": XEN_UTILS}
"""Modules of Debian's own Python."""
LIBRARIES: Final[Mapping[str, str]] = {
    "libxlutil.so.4.17": "libxenmisc4.17",
    "libxenlight.so.4.17": "libxenmisc4.17",
}
"""Shared libraries of xl's."""
MANUALS: Final[Mapping[str, str]] = {"xl.cfg.5": "xen-utils-common"}
"""Pages of manuals, as files."""
DEVICES: Final[Mapping[str, str]] = {"/dev/net/tun": "Linux: modprobe tun; open to its users"}
"""Device nodes, and what brings them."""

COMPILERS: Final = ("cc", "gcc", "clang")
COMPILER_PACKAGES: Final = frozenset({"gcc", "libc6-dev", "clang", "linux-libc-dev"})
XEN_HEADERS: Final = frozenset(name for name in HEADERS if HEADERS[name] == "libxen-dev")

SBIN: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
SYSTEM_PYTHON: Final = "/usr/bin/python3"
_INCLUDE: Final = (
    "/usr/include",
    "/usr/include/x86_64-linux-gnu",
    "/usr/include/aarch64-linux-gnu",
)
_DIST_PACKAGES: Final = Path("/usr/lib/python3/dist-packages")
_LIB: Final = Path("/usr/lib")
_LIBRARIES: Final = ("x86_64-linux-gnu", "aarch64-linux-gnu", "")
_MAN: Final = Path("/usr/share/man")


# -- to ask ---------------------------------------------------------------------------------------


def program(name: str) -> str:
    """The path of a program on the PATH; skips the test where there is none."""
    return find_program(name) or _left_out(name, PROGRAMS[name])


def xen_program(name: str) -> str:
    """The path of a program of xen-utils itself, not of the wrapper that wants a running Xen."""
    return find_xen_program(name) or _left_out(name, XEN_UTILS)


def compiler() -> str:
    """The path of a C compiler."""
    found = next((path for name in COMPILERS if (path := find_program(name))), None)
    return found or _left_out("C compiler", PROGRAMS["cc"])


def qemu() -> str:
    """The path of a QEMU that has Xen's machine."""
    found = next((path for name in QEMUS if (path := find_program(name))), None)
    return found or _left_out("QEMU with Xen support", PROGRAMS[QEMUS[0]])


def node_library() -> Path:
    """The library that stands in for Xen's device nodes."""
    _asked("the node library")
    return nodes.node_library() or _left_out(
        "node library (it is built by `make setup`)", PROGRAMS["cc"]
    )


def header(name: str) -> Path:
    """The path of a C header that is included as <*name*>."""
    return find_header(name) or _left_out(f"<{name}>", HEADERS[name])


def module(name: str) -> tuple[str, dict[str, str]]:
    """(interpreter, variables of its environment) with which a module of Debian can be imported."""
    path = find_module(name)
    if path is None or not os.access(SYSTEM_PYTHON, os.X_OK):
        _left_out(f"Python module {name}", MODULES[name])
    return SYSTEM_PYTHON, {"PYTHONPATH": str(path.parents[name.count(".")])}


def library(name: str) -> Path:
    """The path of a shared library."""
    return find_library(name) or _left_out(name, LIBRARIES[name])


def manual(name: str) -> Path:
    """The compressed page of a manual."""
    return find_manual(name) or _left_out(f"manual {name}", MANUALS[name])


def device(path: str) -> str:
    """*path*, which this user may open for reading and writing."""
    return find_device(path) or _left_out(f"{path} to open", DEVICES[path], "")


# -- to look, without skipping --------------------------------------------------------------------


def search_path() -> str:
    """Where programs are looked for: the PATH, and where root has more."""
    return os.pathsep.join((os.environ.get("PATH", os.defpath), *SBIN))


def find_program(name: str) -> str | None:
    """Where a program of ``PROGRAMS`` is, None when it is not here."""
    _asked(name)
    if name in XEN_PROGRAMS and find_xen_program(name) is None:
        return None  # a wrapper of nothing
    return shutil.which(name, path=search_path()) if name in PROGRAMS else None


def find_xen_program(name: str) -> str | None:
    """Where a program of ``XEN_PROGRAMS`` is."""
    _asked(name)
    if name not in XEN_PROGRAMS:
        return None
    found = sorted(_LIB.glob(f"xen-4.*/bin/{name}"))
    return str(found[-1]) if found else None


def find_header(name: str) -> Path | None:
    """Where a header of ``HEADERS`` is."""
    _asked(name)
    paths = [Path(folder) / name for folder in _INCLUDE]
    return next((path for path in paths if path.is_file()), None) if name in HEADERS else None


def find_module(name: str) -> Path | None:
    """The file or directory that is a module of ``MODULES``."""
    _asked(name)
    if name not in MODULES:
        return None
    within = name.replace(".", "/")
    for folder in (_DIST_PACKAGES, *sorted(_LIB.glob("xen-4.*/lib/python"), reverse=True)):
        for path in (folder / within, folder / f"{within}.py", *folder.glob(f"{within}*.so")):
            if path.exists():
                return path
    return None


def find_library(name: str) -> Path | None:
    """Where a library of ``LIBRARIES`` is."""
    _asked(name)
    paths = [_LIB / folder / name for folder in _LIBRARIES]
    return next((path for path in paths if path.exists()), None) if name in LIBRARIES else None


def find_manual(name: str) -> Path | None:
    """Where a page of ``MANUALS`` is."""
    _asked(name)
    path = _MAN / f"man{name[-1]}" / f"{name}.gz"
    return path if name in MANUALS and path.is_file() else None


def find_device(path: str) -> str | None:
    """*path* of ``DEVICES`` when this user may open it."""
    _asked(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return None
    return path


def packages(compiler: bool = False) -> list[str]:
    """The names of the Debian packages of all the tables; with those of a *compiler* or without."""
    named = {*PROGRAMS.values(), XEN_UTILS, *HEADERS.values(), *MODULES.values()}
    named |= {*LIBRARIES.values(), *MANUALS.values()}
    found = {name for names in named for name in names.split(", ")}
    return sorted(found if compiler else found - COMPILER_PACKAGES)


def everything(compiler: bool = False) -> dict[str, str]:
    """What of all the tables is here: what was looked for, and where it is."""
    found: dict[str, Any] = {
        **{name: find_program(name) for name in PROGRAMS if compiler or name not in COMPILERS},
        **{f"{name} of xen-utils": find_xen_program(name) for name in XEN_PROGRAMS},
        **{f"<{name}>": find_header(name) for name in HEADERS if compiler or name in XEN_HEADERS},
        **{f"module {name}": find_module(name) for name in MODULES},
        **{name: find_library(name) for name in LIBRARIES},
        **{name: find_manual(name) for name in MANUALS},
        **{path: find_device(path) for path in DEVICES},
    }
    return {name: str(where) for name, where in sorted(found.items()) if where is not None}


# -- the mark -------------------------------------------------------------------------------------

MARK: Final = "interop"
_running: list[pytest.Item] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Know which test it is that asks."""
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


def _asked(what: str) -> None:
    """Raises AssertionError when who asks has not the mark, and so is not seen without it."""
    if _running and _running[-1].get_closest_marker(MARK) is None:
        raise AssertionError(
            f"{_running[-1].nodeid} asks for {what}, which a machine may lack: mark it "
            f"`@pytest.mark.{MARK}` (see tests/support/optional.py)"
        )


def _left_out(what: str, remedy: str, who: str = "Debian: ") -> NoReturn:
    pytest.skip(f"no {what} on this machine ({who}{remedy})")
