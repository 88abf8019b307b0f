"""``hvsim xenstore live-update``: ask for it, and see that it was done, on one connection."""

from __future__ import annotations

import argparse
import time
from typing import Final

from hvsim.speak import say, say_json, warn
from hvsim.xs.blocking import SocketStore
from hvsim.xs.client import StoreError

_PATIENCE: Final = 10.0
"""Seconds that the new program has to answer."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument(
        "-F",
        dest="force",
        action="store_true",
        help="do not wait for open transactions; they end in EAGAIN",
    )
    parser.add_argument(
        "-t",
        dest="timeout",
        type=int,
        default=2,
        metavar="SECONDS",
        help="wait for them this long (2)",
    )


def run(store: SocketStore, options: argparse.Namespace) -> int:
    """Exit 0: the store is served by a new program. 1: it refused, or did not come back."""
    try:
        before = store.control("live-update")
        words = ["live-update", "-s", "-t", str(options.timeout)]
        began = time.monotonic()
        store.control(*words, *(["-F"] if options.force else []))
        deadline = began + options.timeout + _PATIENCE
        while (life := store.control("live-update")) == before:
            if time.monotonic() >= deadline:
                warn("live-update: the old program still serves the store")
                return 1
            time.sleep(0.001)
    except StoreError as error:
        warn(f"live-update: {error.strerror}")
        return 1
    taken = time.monotonic() - began
    if options.json:
        say_json({"life": int(life), "seconds": round(taken, 4)}, None)
    else:
        say(f"the store was replaced in {taken * 1000:.0f} ms; every connection goes on")
    return 0
