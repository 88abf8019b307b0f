"""What a program of the machine cannot reach from inside a domain, tried for real.

Red when the root directory of its own is left out (``own_root`` in hvsim/spawn/sandbox): the
sockets of dom0 are there then, and so are the files of the host's /tmp.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import optional
from tests.support.labs import Commands, standing

LAB = """
[lab]
name = "walls"
[[domain]]
name = "victim"
memory = 16
program = "domains.guests.idle:main"
[[domain]]
name = "rogue"
memory = 16
program = "domains.guests.idle:main"
"""
TRY = """
import json, os, socket, sys
found = {}
def attempt(name, fn):
    try:
        found[name] = str(fn())
    except OSError as error:
        found[name] = "refused"
def connect(path):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, kind) as s:
            try:
                s.connect(path)
                return "connected"
            except OSError:
                pass
    raise OSError
for name, path in json.loads(sys.argv[1]).items():
    attempt(name, lambda: connect(path))
attempt("host file", lambda: open(sys.argv[2]).read())
attempt("host pids", lambda: len([p for p in os.listdir("/proc") if p.isdigit()]) > 12)
attempt("abstract", lambda: connect("\\0" + sys.argv[3]))
import ctypes
def mount():
    if ctypes.CDLL(None).mount(b"t", b"/tmp", b"tmpfs", 0, None) != 0:
        raise OSError
    return "mounted"
attempt("mount", mount)
attempt("write /usr", lambda: open("/usr/hvsim-was-here", "w"))
attempt("own store", lambda: connect(os.environ["XENSTORED_PATH"]))
attempt("own tmp", lambda: open("/tmp/x", "w").write("x"))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with standing(tmp_path_factory.mktemp("lab") / "walls.toml", LAB) as made:
        yield made


def test_a_program_reaches_its_own_domain_and_no_other(lab: Commands, tmp_path: Path) -> None:
    env = json.loads(lab.ok("env", "--json"))
    run = Path(env["HVSIM_LAB_DIR"])
    secret = tmp_path / "secret"
    secret.write_text("secret", encoding="utf-8")
    sockets = {
        "dom0's store": env["XENSTORED_PATH"],
        "the victim's store": str(run / "xenstored" / "d1"),
        "the toolstack": str(run / "control"),
        "the toolstack, for people": str(run / "zmq" / "control"),
        "the ledger": str(run / "zmq" / "events"),
    }
    assert all(os.path.exists(path) for path in sockets.values())
    name = f"hvsim-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0" + name)
        abstract.listen(1)
        out = lab.ok(
            "exec", "rogue", "--", "python3", "-c", TRY, json.dumps(sockets), str(secret), name
        )
    found = json.loads(out)
    assert found.pop("own store") == "connected"
    assert found.pop("own tmp") == "1"
    assert found.pop("host pids") == "False"
    assert set(found.values()) == {"refused"}, found


def test_all_walls_stand_and_ps_says_so(lab: Commands) -> None:
    rows = {row["name"]: row["walls"] for row in lab.json("ps")["domains"]}
    assert rows == {"Domain-0": [], "victim": [], "rogue": []}


def test_what_the_kernel_counts_is_low_for_whoever_comes_later(lab: Commands) -> None:
    """A program in a domain that runs none itself.  Red when only the first process of a domain
    sets the numbers low."""
    if not os.path.exists("/proc/sys/user/max_inotify_instances"):
        pytest.skip("this kernel counts no inotify instances")
    said = lab.ok("exec", "rogue", "--", "cat", "/proc/sys/user/max_inotify_instances")
    assert said == "64\n"


GLUTTON = """
import os, struct, threading, time
node = os.open("/dev/xen/xenbus", os.O_RDWR)
ALL = 8000
written = []
def write():
    while len(written) < ALL:
        os.write(node, struct.pack("<4I", 2, 7, 1, 2) + b"a" + bytes(1))
        written.append(1)
writer = threading.Thread(target=write, daemon=True)
writer.start()
last = -1
while last != len(written):
    last = len(written)
    time.sleep(0.5)
taken = 0
while taken < ALL * (16 + len("ENOENT") + 1):
    taken += len(os.read(node, 65536))
writer.join()
os.write(node, struct.pack("<4I", 2, 8, 0, 5) + b"name" + bytes(1))
print(0 < last < ALL, os.read(node, 4096)[-5:])
"""


@pytest.mark.interop
def test_who_never_reads_from_xenbus_is_held(lab: Commands) -> None:
    """Its answers would fill the memory of its kernel; they need no store, for they are refusals.
    Red when only what waits for the store counts."""
    optional.node_library()
    said = lab.ok("exec", "rogue", "--", "python3", "-c", GLUTTON)
    assert said == "True b'rogue'\n"


GREET = """
import socket, sys, zmq
from zmq.utils.monitor import recv_monitor_message
said = []
with socket.socket(socket.AF_UNIX) as control:
    control.connect(sys.argv[1])
    try:
        control.sendall(b"\\x01\\0\\0\\0\\x05")  # no request: it would be told so
        said.append(control.recv(9) != b"")
    except OSError:
        said.append(False)
for kind, path in ((zmq.DEALER, sys.argv[2]), (zmq.SUB, sys.argv[3])):
    socket = zmq.Context.instance().socket(kind)
    monitor = socket.get_monitor_socket(
        zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
    socket.connect(f"ipc://{path}")
    assert monitor.poll(10000), "no handshake at all"
    said.append(recv_monitor_message(monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED)
    socket.disable_monitor()
    socket.close(0)
print(said)
"""


def test_control_and_events_let_nobody_in_from_another_namespace(lab: Commands) -> None:
    """One of a domain's processes that has got hold of the paths.  Red without ``keep`` in the
    edge, or ``is_trusted`` in ``clients``."""
    if subprocess.run(["unshare", "-U", "true"], check=False).returncode:
        pytest.skip("this machine makes no user namespaces")
    run = Path(json.loads(lab.ok("env", "--json"))["HVSIM_LAB_DIR"])
    paths = [str(run / name) for name in ("control", "zmq/control", "zmq/events")]
    words = [sys.executable, "-c", GREET, *paths]
    for prefix, welcome in (([], True), (["unshare", "-U", "-r"], False), ([], True)):
        done = subprocess.run(
            [*prefix, *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout.strip() == str([welcome] * 3), done.stderr


def test_it_acts_in_the_store_as_its_domain(lab: Commands) -> None:
    script = (
        "import os, socket, struct\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(os.environ['XENSTORED_PATH'])\n"
        "def ask(op, text):\n"
        "    data = text.encode() + b'\\0'\n"
        "    s.sendall(struct.pack('<4I', op, 1, 0, len(data)) + data)\n"
        "    kind, _, _, size = struct.unpack('<4I', s.recv(16))\n"
        "    return s.recv(size)\n"
        "print(ask(2, 'name'), ask(2, '/local/domain/1/data/health'))\n"
    )
    assert lab.ok("exec", "rogue", "--", "python3", "-c", script) == "b'rogue' b'EACCES\\x00'\n"
