"""The hypercalls, one module per family. Importing a module enters its handlers in the table."""

from importlib import import_module

FAMILIES = (
    "event_channel",
    "grant_table",
    "memory",
    "domctl",
    "sysctl",
    "holdings",
    "sched",
    "vcpu",
    "console",
    "version",
    "faults",
    "files",
    "lockstep",
)


def load_all() -> None:
    """Enter the handlers of every family."""
    for family in FAMILIES:
        import_module(f"{__name__}.{family}")
