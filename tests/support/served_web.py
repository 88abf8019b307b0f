"""The file of a lab whose guest ``web`` has a disk and an interface, each of a driver domain."""

from __future__ import annotations


def served_web(lab: str, program: str) -> str:
    """A *lab* whose web runs *program*; more may be added behind it."""
    return f"""
[lab]
name = "{lab}"
memory = 1024

[[image]]
path = "web.img"
size = "1M"
scratch = true

[[domain]]
name = "storage"
memory = 32
role = "driver"
restart = "always"
program = "domains.storage:main"

[[domain]]
name = "network"
memory = 32
role = "driver"
program = "domains.network:main"

[[domain]]
name = "web"
memory = 32
program = "{program}"
disk = ["vdev=xvda,access=rw,backend=storage,target=web.img"]
vif = ["backend=network"]
"""
