"""A real lab for tests: hypervisor, xenstored, dom0's kernel, xenconsoled and toolstack.

::

    with LabHost(tmp_path) as host:
        host.create('name="g"\\nprogram="domains.guests.idle:main"')
        assert host.xl("list").exit == 0

Everything lies below *tmp_path* and is gone, with every process, when the block ends.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from hvsim.faults.now import inject
from hvsim.lab.answers import Answer
from hvsim.lab.boot import SPAWNER, STORE_SUCCESSOR
from hvsim.lab.control import Control
from hvsim.lab.rundir import RunDir
from hvsim.xs.blocking import SocketStore, connect
from tests.support.asking import asked
from tests.support.hypervisor_process import ROOT, HypervisorProcess

TIMEOUT = 30.0
TOOLSTACK = "hvsim.toolstack.daemon.daemon:main"
MIB = 256
"""Pages."""


class LabHost:
    """One host; a context manager.

    Args:
        tmp_path: its run directory is made there.
        memory: MiB of the machine.
        journal: whether its store outlives its own death.
        shared: images that several disks may have at a time, as a lab file says it.
        toolstack: the program of its toolstack.

    Attributes:
        run_dir: where its sockets and logs are.
        process: the hypervisor.
    """

    def __init__(
        self,
        tmp_path: Path,
        memory: int = 4096,
        journal: bool = True,
        shared: Sequence[str] = (),
        toolstack: str = TOOLSTACK,
    ) -> None:
        self._toolstack = toolstack
        self.run_dir = tmp_path / "lab"
        self._journal = journal
        self._shared = list(shared)
        self.memory = memory

    def __enter__(self) -> "LabHost":
        for part in ("xenstored", "console", "log"):
            (self.run_dir / part).mkdir(parents=True)
        with open(self.run_dir / "log" / "hypervisor.log", "wb") as log:
            self._hypervisor = HypervisorProcess(self._config(), log)
        self.process = self._hypervisor.popen
        try:
            notice = self._hypervisor.notice(TIMEOUT)
            assert notice.get("ready"), notice
            self.control = Control(self.run_dir / "control", alive=self._alive)
            self.request("ready")
        except BaseException:
            self._hypervisor.end(TIMEOUT)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.control.close()
        self._hypervisor.end(TIMEOUT)
        if kind is not None:
            print(self.logs())

    def _alive(self) -> bool:
        return self.process.poll() is None

    def _config(self) -> dict[str, Any]:
        run = str(self.run_dir)
        common = {"lab": "test", "run_dir": run, "xenstored": self.store_path}
        programs: list[tuple[str, str, dict[str, Any]]] = [
            (
                "xenstored",
                "hvsim.xenstore.daemon.daemon:main",
                {
                    "socket": self.store_path,
                    "trace": str(self.trace_path),
                    "journal": f"{run}/xenstored/journal" if self._journal else None,
                    "successor": list(STORE_SUCCESSOR),
                },
            ),
            ("kernel", "domains.dom0:main", {}),  # with what it looks after, see below
            ("xenconsoled", "domains.consoled:main", {"console_dir": f"{run}/console"}),
            ("toolstack", self._toolstack, {"defaults": {"shared": self._shared}}),
        ]
        specs: list[dict[str, Any]] = [
            {
                "name": "Domain-0",
                "domid": 0,
                "process": process,
                "program": program,
                "profile": "dom0",
                "path": [str(ROOT)],
                "files": [],
                "stdout": f"{run}/log/{process}.log",
                "args": {**common, **args},
            }
            for process, program, args in programs
        ]
        xenstored, kernel, xenconsoled, toolstack = specs
        daemons = [xenstored, xenconsoled, toolstack]
        kernel["args"] = {**kernel["args"], "daemons": daemons}
        return {
            "lab": "test",
            "memory_pages": self.memory * MIB,
            "cpus": 2,
            "seed": 1,
            "event_mode": "direct",
            "log_dir": f"{run}/log",
            "door": f"{run}/hypervisor",
            "obituary": f"{run}/ended",
            "dom0": {"memory_pages": 256 * MIB, "max_vcpus": 2, "processes": specs},
            "spawner": {"argv": list(SPAWNER), "preload": []},
        }

    @property
    def store_path(self) -> str:
        """The store's socket."""
        return str(self.run_dir / "xenstored" / "socket")

    @property
    def trace_path(self) -> Path:
        """What xenstored answered, one JSON line for each request."""
        return self.run_dir / "log" / "xenstored.trace"

    def request(self, verb: str, **fields: Any) -> Answer:
        """A request over the control wire."""
        return self.control.request(asked(verb, **fields), patience=TIMEOUT)

    def xl(self, *argv: str, cwd: str = "/", **fields: Any) -> Answer:
        """An xl command."""
        return self.request("xl", argv=list(argv), cwd=cwd, **fields)

    def fault(self, action: str, who: str, process: str = "") -> int:
        """Kill, stall or resume a process, as ``hvsim fault`` does; its pid."""
        return int(inject(RunDir(self.run_dir), action, who, process)["pid"])

    def create(self, config: str, **fields: Any) -> int:
        """Make a domain as a lab does; returns its number."""
        answer = self.request(
            "create",
            config=config,
            config_path="test.cfg",
            directory="/",
            **{"path": [str(ROOT)], **fields},
        )
        assert answer.exit == 0, answer
        return int(answer.data["domid"])

    def end_domains(self) -> None:
        """Destroy every domain, so that the next test finds the host as this one did (numbers go
        on)."""
        while names := [row["domid"] for row in self.xl("list", json=True).data if row["domid"]]:
            for domid in names:
                self.xl("destroy", str(domid))
            time.sleep(0.01)

    def store(self) -> SocketStore:
        """A connection to the store; the caller closes it."""
        return connect(self.store_path, "TEST", "test")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until *condition* holds; fails after TIMEOUT seconds."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, f"waited {TIMEOUT:g} s for {what}\n{self.logs()}"
            time.sleep(0.005)

    def wait_node(self, path: str, value: str | None) -> None:
        """Wait until a node has *value* (None: is gone)."""
        with self.store() as store:
            self.wait(lambda: store.read_many([path]) == [value], f"{path} = {value}")

    def trace(self) -> list[dict[str, Any]]:
        """The store's trace so far."""
        whole = self.trace_path.read_text().rpartition("\n")[0]  # a line may be on its way
        return [json.loads(line) for line in whole.splitlines()]

    def logs(self) -> str:
        """What every process said."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}"
            for part in ("log", "console")
            for log in sorted((self.run_dir / part).glob("*.log"))
        )
