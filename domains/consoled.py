"""xenconsoled as a program of dom0."""

from hvsim.drivers.console.daemon import main

__all__ = ["main"]
