"""What came of one scenario of a soak, by the command that has run it."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Final

GRACE: Final = 60.0
"""Seconds in which a command that is interrupted takes its lab down."""


def told(process: subprocess.Popen[str], patience: float) -> list[str]:
    """What was wrong; empty when everything held.  A command that has not ended within *patience*
    seconds is interrupted, and that is what was wrong: it is to be known which scenario hangs."""
    try:
        out, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        return [f"it has not ended within {patience:g} s", *_interrupted(process)]
    if process.returncode == 0:
        return []
    return _problems(out) or [f"exit status {process.returncode}"]


def _interrupted(process: subprocess.Popen[str]) -> list[str]:
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return [f"nor {GRACE:g} s after Ctrl-C"]
    return []


def _problems(out: str) -> list[str]:
    if not out.startswith("{"):
        return [out] if out else []
    return [
        f"{check['name']}: {check['problems'][0]}"
        for check in json.loads(out)["checks"]
        if not check["held"] and check["counts"]
    ]
