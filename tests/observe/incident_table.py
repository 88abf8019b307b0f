"""Incidents: what is done to a lab, who is to blame, and what a command that fails says.

A row is one incident.  ``test_incidents.py`` plays each: it strikes, looks with ``hvsim ps``, runs
the command that cannot work then, and heals.  Whoever adds a row says whom the words must name; the
test sees to it that they name nobody else.

Open rows, for shortages, which have a number and a remedy besides: disk, descriptors, processes,
memory, namespaces.
"""

from __future__ import annotations

from tests.observe.incident_kinds import (
    Incident,
    attach_disk,
    attach_served,
    attach_vif,
    detach,
    detach_vif,
    given_up,
    in_turn,
    kill_now,
    killed,
    killed_midway,
    shut_down,
    stalled,
)

TABLE: tuple[Incident, ...] = (
    # -- who stands still ----------------------------------------------------------------------
    Incident(
        "hypervisor stalled",
        "hypervisor",
        lambda host: host.fault("stall", "hypervisor"),
        lambda host: host.xl("pause", "web"),
        r"the hypervisor \(pid {pid}\) stands still \(SIGSTOP\)",
        lambda host: host.fault("resume", "hypervisor"),
        ps=r"the hypervisor \(pid {pid}\) stands still \(SIGSTOP\)",
    ),
    stalled("spawner", lambda host: host.ask("exec", domain="web", argv=["x"], stdio="/x")),
    stalled("xenstored", lambda host: host.xl("pause", "web")),
    stalled("kernel", attach_disk, detach),
    stalled("xenconsoled", lambda host: host.create("more", program="domains.guests.idle:main")),
    stalled("toolstack", lambda host: host.xl("pause", "web")),
    stalled("storage", attach_served, detach),
    stalled("network", attach_vif("network"), detach_vif),
    stalled("web", shut_down),
    # -- who is killed, and comes back ---------------------------------------------------------
    killed("xenstored"),
    killed("xenconsoled"),
    Incident(
        "toolstack killed in the middle of a command",
        "toolstack",
        lambda host: host.xl("pause", "storage"),
        killed_midway,
        r"the toolstack was killed by SIGKILL meanwhile and was started again",
        in_turn(lambda host: host.xl("unpause", "storage"), detach),
        ps="is paused|web xvda waits for storage: paused|",
        returns=True,
    ),
    Incident(
        "storage killed",
        "storage",
        lambda host: kill_now(host, "storage"),
        lambda host: host.xl("dmesg"),
        r"Domain \d+ \(vcpu#0\) crashed",
        lambda host: None,
        returns=True,
    ),
    # -- who is killed, and stays dead ---------------------------------------------------------
    Incident(
        "doomed killed",
        "doomed",
        lambda host: kill_now(host, "doomed"),
        lambda host: host.xl("shutdown", "doomed"),
        r"doomed \(domain \d+\) has crashed",
        lambda host: host.xl("destroy", "doomed"),
        ps=r"doomed \(domain \d+\) has crashed",
    ),
    # -- words in a config ---------------------------------------------------------------------
    Incident(
        "a vif that names a storage driver",
        "",
        lambda host: None,
        attach_vif("storage"),
        r"storage \(domain \d+\) serves vbd, and no vif: vif \d of domain \d+ needs another",
        detach_vif,
        ps="",
    ),
    Incident(
        "a disk that names a network driver",
        "",
        lambda host: None,
        lambda host: host.xl(
            "block-attach", "web", f"vdev=xvdb,backend=network,target={host.image}"
        ),
        r"network \(domain \d+\) serves vif, and no vbd: vbd 51728 of domain \d+ needs another",
        detach,
        ps="",
    ),
    Incident(
        "an image that is missing in dom0",
        "",
        lambda host: None,
        lambda host: host.xl("block-attach", "web", f"{host.missing},raw,xvdb,w"),
        r"Disk vdev=xvdb failed to stat: .*/no-such.img: No such file or directory",
        detach,
        ps="",
    ),
    Incident(
        "an image that is missing in a driver domain",
        "",
        lambda host: host.xl(
            "block-attach", "web", f"vdev=xvdb,backend=storage,target={host.missing}"
        ),
        lambda host: "",
        "",
        detach,
        ps=r"web xvdb waits for storage: frontend \w+, backend InitWait; .*/no-such.img does not",
    ),
)
LAST: tuple[Incident, ...] = (
    Incident(
        "network killed",
        "network",
        lambda host: kill_now(host, "network"),
        attach_vif("network"),
        r"network \(domain \d+\) (has crashed|is gone)",
        lambda host: None,
        ps=r"web eth0 waits for network: (the backend domain is gone|crashed)",
        heals=False,
    ),
)
"""What nothing heals: nobody rebuilds a driver domain without ``restart``."""


BROKEN = given_up(
    "broken",
    lambda host: host.create(
        "more",
        program="domains.guests.idle:main",
        overrides=["disk=['vdev=xvda,backend=broken,target=/x']"],
    ),
    r"broken has died 8 times within 60 s and stays dead: .*there is no module 'nowhere'",
)
CONSOLE = given_up(
    "xenconsoled",
    lambda host: host.create("more", program="domains.guests.idle:main"),
    r"xenconsoled has died 8 times within 60 s and stays dead; its log is log/xenconsoled.log",
)


def qemu_rows(domid: int) -> tuple[Incident, Incident]:
    """A guest's QEMU in dom0, which serves its disk."""
    name = f"qemu-{domid}"
    return (
        stalled(name, lambda host: host.xl("block-detach", "disky", "xvda")),
        Incident(
            "QEMU killed",
            name,
            lambda host: host.fault("kill", name),
            lambda host: host.xl("dmesg"),
            rf"{name} has died; it is started again for disky",
            lambda host: None,
            returns=True,
        ),
    )
