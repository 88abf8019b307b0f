"""``make mutants``: plants every fault and says which ones nobody noticed.

Exit 0 when at least 95 of 100 were noticed, 1 when fewer were, 2 when one cannot be planted.
"""

import argparse
import sys
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import Final

from hvsim.speak import say
from tests.mutants.planting import BadPlant, Fault, Garden, all_faults

BOUND: Final = 0.95


def work(todo: deque[Fault], missed: list[Fault], bad: list[str]) -> None:
    """Take faults from *todo* until there is none left."""
    with tempfile.TemporaryDirectory(prefix="hvsim-mutants-") as folder:
        garden = Garden(Path(folder))
        while todo:
            try:
                fault = todo.popleft()
            except IndexError:
                return
            try:
                if not garden.notices(fault):
                    missed.append(fault)
                    say(f"not noticed: {fault.file}:{fault.line()}: {fault.new.strip()}")
            except BadPlant as error:
                bad.append(str(error))
                say(str(error))


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("only", nargs="?", default="", help="faults whose list or file has this")
    parser.add_argument("--jobs", type=int, default=2, help="copies of the tree (default: 2)")
    options = parser.parse_args()
    chosen = [one for one in all_faults() if options.only in f"{one.where} {one.file}"]
    todo, missed, bad = deque(chosen), list[Fault](), list[str]()
    jobs = [threading.Thread(target=work, args=(todo, missed, bad)) for _ in range(options.jobs)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    noticed = len(chosen) - len(missed) - len(bad)
    say(f"{noticed} of {len(chosen)} planted faults were noticed")
    if bad:
        return 2
    return 0 if noticed >= BOUND * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
