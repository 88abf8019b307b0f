"""The ledger of a lab in lockstep, without what no two runs share: numbers of processes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_PID: Final = re.compile(r"\bpid \d+")


def projected(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as it is in each run of the same seed."""
    found = {key: value for key, value in record.items() if key != "pid"}
    return {**found, "text": _PID.sub("pid -", found["text"])}
