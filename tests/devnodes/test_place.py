"""Programs of Domain-0 find the lab's own /var/lib/xen and the like, and the machine's are left."""

from __future__ import annotations

import os
import sys

import pytest

from tests.support.dom0_lab import Dom0

pytestmark = pytest.mark.interop

MACHINES = ("/var/lib", "/var/run", "/run", "/var/log", "/var/lock", "/run/lock", "/var/lib/xen")

WORDS = r"""
set -e
cd /
for f in /var/lib/xen /var/run/xen /run/xen /var/log/xen; do test -d $f; done
echo one >/var/lib/xen/a
ln -s a /var/lib/xen/link
ln /var/lib/xen/a /var/lib/xen/hard
mv /var/lib/xen/a /var/lib/xen/b
cp /var/lib/xen/b /run/xen/c
mkdir -p /var/run/xen-hotplug/d /var/lib/xenstored
touch /var/run/xen-hotplug/d/e
chmod 640 /var/lib/xen/b
test "$(stat -c %a /var/lib/xen/b)" = 640
truncate -s 2 /var/run/xen/c
test "$(cat /run/xen/c)" = on
test "$(readlink /var/lib/xen/link)" = a
test "$(ls /var/lib/xen | tr '\n' ' ')" = "b dump hard link $1"
for f in /var/lib/xen/h*; do test "$(cat $f)" = one; done
rm /var/lib/xen/b /var/lib/xen/hard /var/lib/xen/link /run/xen/c /var/run/xen-hotplug/d/e
rmdir /var/run/xen-hotplug/d /var/run/xen-hotplug /var/lib/xenstored
test ! -e /var/lib/xen/b
test -d /var/lib/dpkg -o ! -d /var/lib/dpkg
test -S /var/run/xenstored/socket
: >/var/lock/xl
flock /var/lock/xl true
rm /var/lock/xl
"""


def listing() -> dict[str, list[str]]:
    """What the machine has in the directories that are not to be touched."""
    found = {}
    for folder in MACHINES:
        try:
            found[folder] = sorted(name for name in os.listdir(folder) if "x" in name)
        except OSError:
            found[folder] = []
    return found


def test_paths_lie_in_the_lab(dom0: Dom0) -> None:
    """What coreutils and a shell call; each step depends on those before.

    Seen red: without ``rename`` in place.c (mv fails), without ``/run`` among its roots, with the
    environment's HVSIM_DOM0 left out (the machine's directory is written to, or refuses).
    """
    before = listing()
    kept = " ".join(sorted(path.name for path in (dom0.place / "var/lib/xen").glob("userdata*")))
    dom0.ok("sh", "-c", WORDS, "sh", f"{kept} ")
    assert listing() == before


def test_a_guest_has_no_such_place(dom0: Dom0) -> None:
    status, _, errors = dom0.run("ls", "/var/lib/xen", domain="g")
    assert (status, "No such file" in errors) == (2, True)


PYTHON = r"""
import glob, os, socket
path = "/var/run/xen/" + "s" * 40
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen(1)
client = socket.socket(socket.AF_UNIX)
client.connect(path)
client.sendall(b"x")
assert server.accept()[0].recv(1) == b"x"
(found,) = glob.glob("/var/run/xen/s*")
os.unlink(found)
with open("/var/log/xen/l", "w") as file:
    file.write("text")
os.replace("/var/log/xen/l", "/var/log/xen/m")
os.utime("/var/log/xen/m", (1, 2))
assert os.stat("/var/log/xen/m").st_mtime == 2
assert os.path.realpath("/var/log/xen/m").endswith("/var/log/xen/m")
os.remove("/var/log/xen/m")
long = "/var/lib/xen/" + "a/" * 2100
try:
    os.stat(long)
except FileNotFoundError:
    print("done")
"""


def test_sockets_and_names_of_every_kind(dom0: Dom0) -> None:
    """Red without ``moved`` in place.c: the socket is made in the machine's directory."""
    before = listing()
    assert dom0.ok(sys.executable, "-c", PYTHON) == "done\n"
    assert listing() == before
    assert list((dom0.place / "var/run/xen").iterdir()) == []


def test_the_machines_own_scripts_are_run_as_they_are(dom0: Dom0) -> None:
    """Only those that libxl names by itself are the lab's."""
    scripts = sorted(path.name for path in (dom0.place / "etc/xen/scripts").iterdir())
    assert scripts == ["block", "vif-bridge"]
    status, _, errors = dom0.run("sh", "-c", "exec /etc/xen/scripts/block add")
    assert (status, errors) == (1, "script: libxl runs this, with XENBUS_PATH and an action\n")
