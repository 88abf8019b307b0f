"""The machine of the faults' tests is that of the drivers'."""

from tests.drivers.conftest import hv, machine

__all__ = ["hv", "machine"]
