"""A lab with a vif whose halves are those of tapped.py: what they do is the test's own."""

from __future__ import annotations

import time
from typing import Any

from hvsim.drivers.capture.ring import Record, records
from hvsim.wire.lab_requests import Capture
from hvsim.xs.client import Transaction
from tests.support.lab_host import TIMEOUT, LabHost

GUEST = 'name="guest"\nprogram="tests.toolstack.tapped:front"\nmemory=16\n'


class Lab:
    """A guest with a vif, served by a driver domain."""

    def __init__(self, host: LabHost) -> None:
        self.host = host
        self.back = self.driver()
        self.guest = host.create(GUEST)
        self.attach()

    def driver(self, **args: Any) -> int:
        domid = self.host.create(
            'name="net"\ndriver_domain=1\nmemory=16',
            program="tests.toolstack.tapped:back",
            profile="driver",
            args=args,
        )
        self.host.wait_node(f"/local/domain/{domid}/data/health", "ok")
        return domid

    @property
    def front_path(self) -> str:
        return f"/local/domain/{self.guest}/device/vif/0"

    @property
    def back_path(self) -> str:
        return f"/local/domain/{self.back}/backend/vif/{self.guest}/0"

    def attach(self) -> None:
        """What libxl writes, as far as a capture cares."""
        libxl = f"/libxl/{self.guest}/device/vif/0"
        pairs = [
            (f"{libxl}/frontend", self.front_path, None),
            (f"{libxl}/backend", self.back_path, None),
            (f"{libxl}/mac", "00:16:3e:00:00:01", None),
            (f"{self.back_path}/frontend", self.front_path, self.back),
            (f"{self.back_path}/frontend-id", str(self.guest), self.back),
            (f"{self.back_path}/state", "1", self.back),
            (f"{self.front_path}/backend", self.back_path, self.guest),
            (f"{self.front_path}/backend-id", str(self.back), self.guest),
            (f"{self.front_path}/state", "1", self.guest),
        ]

        def body(tx: Transaction) -> None:
            for path, value, owner in pairs:
                tx.write(path, value)
                if owner is not None:
                    other = self.back if owner == self.guest else self.guest
                    for place in (path.rsplit("/", 1)[0], path):
                        tx.set_perms(place, [f"n{owner}", f"r{other}"])

        with self.host.store() as store:
            store.transaction(body, "attach")
        self.host.wait_node(f"{self.front_path}/state", "4")

    def frames(self, domid: int, count: int, size: int = 60) -> None:
        with self.host.store() as store:
            store.write(f"/local/domain/{domid}/data/frames", f"{count} {size}")

    def capture(self, **fields: Any) -> Any:
        """One request of the verb; asserts that it is answered with success."""
        return self.host.control.data(Capture(**fields))

    def start(self, vif: str = "guest", side: str = "back", snaplen: int = 200) -> int:
        found = self.capture(action="start", vif=vif, side=side, snaplen=snaplen)
        return int(found["session"])

    def read(self, session: int) -> list[Record]:
        return list(records(self.capture(action="read", session=session)["records"]))

    def read_some(self, session: int, count: int) -> list[Record]:
        found: list[Record] = []
        deadline = time.monotonic() + TIMEOUT
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} frames"
            found += self.read(session)
        return found

    def refusal(self, **fields: Any) -> str:
        answer = self.host.request("capture", **fields)
        assert answer.exit
        return answer.err.strip()
