"""No descriptor is inherited but by those who are meant to have it: every place that could do it is
known by name, and each is here with its reason."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {
    ("hvsim/wire/rights.py", "sendmsg"): "the one place",
    ("hvsim/wire/rights.py", "recvmsg_into"): "the one place",
    ("hvsim/drivers/net/tagged.py", "recvmsg"): "what a packet socket says beside a frame",
    ("hvsim/lab/launch.py", "pass_fds"): "boot config and notice, for the hypervisor",
    ("hvsim/hypervisor/spawning.py", "pass_fds"): "its wire, for the spawner",
    ("hvsim/hypervisor/__main__.py", "set_inheritable"): "takes it away from the notice pipe",
    ("hvsim/spawn/spawner.py", "set_inheritable"): "takes it away from the wire",
    ("hvsim/spawn/sandbox/descriptors.py", "dup2"): "a domain's own 0, 1 and 2",
    ("hvsim/spawn/sandbox/descriptors.py", "set_inheritable"): "the door of a program's nodes",
    ("hvsim/spawn/sandbox/descriptors.py", "F_SETFD"): "close-on-exec for all the rest",
    ("hvsim/spawn/executable.py", "dup2"): "a program's own 0, 1 and 2",
    ("hvsim/lab/execute.py", "dup2"): "/dev/null where nothing was",
    ("hvsim/lab/warm_start.py", "dup2"): "a fork's own 0, 1 and 2, and what a hypervisor is given",
    ("hvsim/lab/nursery.py", "pass_fds"): "its wire, for the nursery",
    ("hvsim/lab/nursery.py", "set_inheritable"): "takes it away from the nursery's wire",
    ("hvsim/surroundings.py", "dup2"): "/dev/null for standard output",
    ("hvsim/surroundings.py", "set_inheritable"): "/dev/null for what was closed of 0, 1 and 2",
    (
        "hvsim/xenstore/daemon/live_update.py",
        "memfd_create",
    ): "its state, for the new program in its place",
    ("hvsim/xenstore/daemon/live_update.py", "set_inheritable"): "its wires, for the new program",
    ("hvsim/xenstore/daemon/client.py", "set_inheritable"): "its socket, for the new program",
    ("hvsim/xenstore/daemon/server.py", "set_inheritable"): "its listener, for the new program",
    ("hvsim/spawn/successor.py", "set_inheritable"): "takes it away again",
}
"""(file, what) -> whose it is meant to be."""
_ANCILLARY = {"sendmsg": 1, "recvmsg": 1, "recvmsg_into": 1}
"""Calls, and how many arguments they have when they carry no descriptors."""
_FLAGGED = {"memfd_create": "CLOEXEC", "eventfd": "CLOEXEC", "pipe2": "CLOEXEC"}
"""Calls of the standard library whose flags, once given, replace close-on-exec."""


def makers(source: str) -> set[str]:
    """What in Python *source* passes descriptors on, or lets programs inherit them."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("F_DUPFD", "F_SETFD"):
            found.add(node.attr)
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name = node.func.attr
        words = [keyword.arg for keyword in node.keywords]
        if name in ("send_fds", "recv_fds", "set_inheritable", "dup2"):
            found.add(name)
        if name in _ANCILLARY and len(node.args) > _ANCILLARY[name]:
            found.add(name)
        if name in _FLAGGED:
            flags = [ast.unparse(one) for one in [*node.args, *(k.value for k in node.keywords)]]
            given = flags[name != "pipe2" :]
            if given and not any(_FLAGGED[name] in flag for flag in given):
                found.add(name)
        found |= {word for word in words if word in ("pass_fds", "close_fds")}
    return found


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import socket\nsocket.send_fds(s, [b'x'], [1])", {"send_fds"}),
        ("import socket\nsocket.recv_fds(s, 1, 1)", {"recv_fds"}),
        ("s.sendmsg([b'x'], [(1, 1, b'')])", {"sendmsg"}),
        ("s.recvmsg(1, 100)", {"recvmsg"}),
        ("s.recvmsg(1)", set()),
        ("s.recvmsg_into([b], 100)", {"recvmsg_into"}),
        ("import os\nos.set_inheritable(fd, True)", {"set_inheritable"}),
        ("s.set_inheritable(True)", {"set_inheritable"}),
        ("import os\nos.dup2(3, 4)", {"dup2"}),
        ("import os\nos.memfd_create('x', 0)", {"memfd_create"}),
        ("import os\nos.memfd_create('x')", set()),
        ("import os\nos.memfd_create('x', flags=os.MFD_ALLOW_SEALING)", {"memfd_create"}),
        ("import os\nos.eventfd(0, os.EFD_NONBLOCK)", {"eventfd"}),
        ("import os\nos.eventfd(0, os.EFD_CLOEXEC)", set()),
        ("import os\nos.pipe2(os.O_NONBLOCK)", {"pipe2"}),
        ("import fcntl\nfcntl.fcntl(3, fcntl.F_DUPFD, 9)", {"F_DUPFD"}),
        ("subprocess.Popen([], close_fds=False)", {"close_fds"}),
    ],
)
def test_each_way_is_seen(source: str, what: set[str]) -> None:
    assert makers(source) == what


def test_every_place_in_python_is_known() -> None:
    found = {
        (str(file.relative_to(ROOT)), what)
        for folder in ("hvsim", "domains")
        for file in (ROOT / folder).rglob("*.py")
        for what in makers(file.read_text(encoding="utf-8"))
    }
    assert found == set(KNOWN)


_OPENERS = (
    "open|openat|openat2|creat|socket|socketpair|accept|accept4|pipe|pipe2|dup|dup2|dup3|eventfd|"
    "eventfd2|epoll_create|epoll_create1|memfd_create|inotify_init|inotify_init1|signalfd4|"
    "timerfd_create|fopen|recvmsg|fcntl"
)
_C_CALL = re.compile(rf"(?:\bSYS_|(?<![\w.>(]))({_OPENERS})\b\s*[,(][^;]*;")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
C_KNOWN = {
    ("hvsim/devnodes/library/paths.c", "SYS_fcntl, fd, F_SETFD, 0"): "the program's own open(2)",
    ("hvsim/devnodes/library/paths.c", "SYS_fcntl, fd, F_SETFL, O_RDWR | O_NONBLOCK"): "no F_SETFD",
    (
        "hvsim/devnodes/library/calls.c",
        "SYS_recvmsg, fd, &message, MSG_DONTWAIT",
    ): "no control buffer",
}


def c_faults(source: str) -> list[str]:
    """Statements of C *source* that open something without close-on-exec: those of the library's
    own, which makes raw system calls, and calls of the C library."""
    found = []
    text = _COMMENT.sub("", source)
    for match in _C_CALL.finditer(text):
        before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        defined = before.startswith(("EXPORT", "ONE("))
        if "CLOEXEC" in match[0] or defined or "NEXT(" in match[0]:
            continue
        found.append(match[0])
    return found


def test_every_opening_in_c_is_close_on_exec() -> None:
    found = [
        (str(file.relative_to(ROOT)), statement)
        for file in sorted((ROOT / "hvsim").rglob("*.[ch]"))
        for statement in c_faults(file.read_text(encoding="utf-8"))
    ]
    left = [
        (name, statement)
        for name, statement in found
        if not any(name == known and part in statement for known, part in C_KNOWN)
    ]
    assert left == []
    assert len(found) == len(C_KNOWN)


@pytest.mark.parametrize(
    "source",
    [
        "int f(void) { return RAW2(SYS_memfd_create, name, 0); }",
        "int f(void) { int fd = open(path, O_RDONLY); return fd; }",
        "int f(void) { return RAW3(SYS_recvmsg, wire, &message, 0); }",
        "int f(void) { return accept(fd, NULL, NULL); }",
    ],
)
def test_each_way_in_c_is_seen(source: str) -> None:
    assert len(c_faults(source)) == 1
