"""dom0 of the hostile-guest test: builds the domains, lets the rogue loose, looks at the rest."""

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any, Final

from hvsim.abi.domctl import (
    XEN_DOMCTL_createdomain,
    XEN_DOMCTL_destroydomain,
    XEN_DOMCTL_getdomaininfo,
    XEN_DOMCTL_unpausedomain,
    XEN_SYSCTL_physinfo,
    XEN_SYSCTL_readconsole,
)
from hvsim.abi.hypercall import (
    HVSIM_DOMCTL_load,
    HVSIM_DOMCTL_populate,
    HVSIM_DOMCTL_set_start_info,
    HVSIM_SYSCTL_ledger,
    HVSIM_SYSCTL_processes,
    HYPERVISOR_domctl,
    HYPERVISOR_sysctl,
)
from hvsim.domain import Domain
from hvsim.domain.hypercall import HypercallError
from hvsim.wire.answers import MachineInfo, ProcessInfo

PAGES: Final = 64
PATIENCE: Final = 60.0
_PROGRAMS: Final = "tests.hostile.programs"


class Builder:
    """Builds domains by hypercalls, without a store."""

    def __init__(self, dom: Domain) -> None:
        self.dom = dom
        self.logs = Path(dom.args["logs"])
        self.domids = {
            name: self.domctl(
                XEN_DOMCTL_createdomain,
                {"handle": uuid.uuid4().bytes, "max_vcpus": 1, "max_pages": PAGES + 8, "flags": 0},
            )[0]
            for name in ("victim", "pinger", "ponger", "rogue")
        }

    def domctl(self, cmd: int, *args: Any) -> list[Any]:
        return self.dom.hypercall.call(HYPERVISOR_domctl, cmd, *args)

    def start(self, name: str, program: str, args: dict[str, Any]) -> None:
        """Build and unpause."""
        domid = self.domids[name]
        self.domctl(HVSIM_DOMCTL_populate, domid, PAGES)
        self.domctl(HVSIM_DOMCTL_set_start_info, domid, {"cmd_line": ""})
        spec = {
            "name": name,
            "domid": domid,
            "process": "main",
            "program": f"{_PROGRAMS}.{program}",
            "profile": "guest",
            "path": [self.dom.args["root"]],
            "files": [],
            "stdout": str(self.logs / f"{name}.log"),
            "args": args,
            "store": False,
            "console": False,
            "without": self.dom.args["without"],
        }
        self.domctl(HVSIM_DOMCTL_load, domid, spec)
        self.domctl(XEN_DOMCTL_unpausedomain, domid)

    def said(self, name: str) -> list[dict[str, Any]]:
        """All that a domain has said so far."""
        path = self.logs / f"{name}.log"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def wait_said(self, name: str, key: str) -> dict[str, Any]:
        """The first line with this key."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [line for line in self.said(name) if key in line]
            return bool(found)

        self.wait(there, f"{name} to say {key!r}", name)
        return found[0]

    def wait(self, pred: Any, what: str, *names: str) -> None:
        """Poll with a bound; ends early when one of the domains is down."""
        deadline = time.monotonic() + PATIENCE
        while not pred():
            down = [name for name in names if not self.alive(name)]
            if down and not pred():
                raise RuntimeError(f"{down[0]} went down; waited for {what}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {PATIENCE} s for {what}")
            self.dom.vcpu.block(0.01)
            self.dom.vcpu.dispatch()

    def info(self, name: str) -> dict[str, Any]:
        result: dict[str, Any] = self.domctl(XEN_DOMCTL_getdomaininfo, self.domids[name])[0]
        return result

    def alive(self, name: str) -> bool:
        """Neither shut down nor dying."""
        flags = self.info(name)["flags"]
        return not (flags.get("shutdown") or flags.get("dying"))

    def exchanged(self) -> int:
        """Round trips of the pair so far."""
        return max((line.get("exchanged", 0) for line in self.said("pinger")), default=0)

    def gone(self, name: str) -> bool:
        try:
            self.info(name)
        except HypercallError:
            return True
        return False


def _hypervisor_pid() -> int:
    """Our parent is the spawner, and its parent the hypervisor."""
    text = Path(f"/proc/{os.getppid()}/stat").read_text()
    return int(text.rpartition(")")[2].split()[1])


def main(dom: Domain) -> None:
    """One line of JSON at the end: everything that the test judges."""
    builder = Builder(dom)
    domids = builder.domids
    builder.start("pinger", "bystanders:pinger", {"peer": domids["ponger"]})
    pair = builder.wait_said("pinger", "ready")
    pair["peer"] = domids["pinger"]
    builder.start("ponger", "bystanders:ponger", pair)
    victim_args = {"rogue": domids["rogue"], "other": domids["ponger"]}
    builder.start("victim", "bystanders:victim", victim_args)
    facts = builder.wait_said("victim", "ready")
    builder.wait(lambda: builder.exchanged() > 0, "the first round trips", "pinger", "ponger")

    hypervisor = _hypervisor_pid()
    descriptors = len(os.listdir(f"/proc/{hypervisor}/fd"))
    exchanged_before = builder.exchanged()
    facts |= dom.args["facts"] | {
        "victim": domids["victim"],
        "victim_pid": next(iter(builder.info("victim")["pids"].values())),
        "hypervisor_pid": hypervisor,
        "weakened": bool(dom.args["without"]),
    }
    builder.start("rogue", "rogue:main", facts)
    builder.wait_said("rogue", "done")

    # The rogue still runs; the others must go on from here.
    exchanged_after, looked = builder.exchanged(), len(builder.said("victim"))
    others = ("pinger", "ponger", "victim")
    builder.wait(
        lambda: (
            builder.exchanged() >= exchanged_after + 500 and len(builder.said("victim")) > looked
        ),
        "the bystanders to go on",
        *others,
    )
    ask, rows = dom.hypercall.ask, list[dict[str, Any]]
    ledger = ask(rows, HYPERVISOR_sysctl, HVSIM_SYSCTL_ledger, 0, 10_000)
    processes = ask(list[ProcessInfo], HYPERVISOR_sysctl, HVSIM_SYSCTL_processes)
    result = {
        "outcomes": {
            line["attempt"]: line["outcome"] for line in builder.said("rogue") if "attempt" in line
        },
        "alive": {name: builder.alive(name) for name in others},
        "exchanged": [exchanged_before, exchanged_after, builder.exchanged()],
        "intact": all(line.get("intact", True) for line in builder.said("victim")),
        "descriptors": [descriptors, len(os.listdir(f"/proc/{hypervisor}/fd"))],
        "ledger": [record for record in ledger if record.get("domid") == domids["rogue"]],
        "counted": ask(MachineInfo, HYPERVISOR_sysctl, XEN_SYSCTL_physinfo)["counters"],
        "missing": {p["pid"]: p["missing"] for p in processes if p["domid"] == domids["rogue"]},
        "console": dom.hypercall.call(HYPERVISOR_sysctl, XEN_SYSCTL_readconsole, False)[0],
    }
    for name in domids:
        builder.domctl(XEN_DOMCTL_destroydomain, domids[name])
    builder.wait(lambda: all(builder.gone(name) for name in domids), "the domains to go")
    result["descriptors_at_end"] = len(os.listdir(f"/proc/{hypervisor}/fd"))
    print(json.dumps({"result": result}, default=repr), flush=True)
