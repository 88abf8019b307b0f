"""Write down what the installed xl says of every config: ``python -m tests.config.record``."""

import sys
import tempfile
from pathlib import Path

from tests.config.configs import RECORD, configs, write
from tests.config.real_xl import LAB, ask
from tests.support import optional
from tests.support.labs import commands


def main() -> int:
    """Exit 0: written."""
    xl = optional.find_xen_program("xl")
    if xl is None:
        print("no xl on this machine (Debian: xen-utils-4.17)", file=sys.stderr)
        return 1
    texts = configs()
    with tempfile.TemporaryDirectory() as folder, commands() as hvsim:
        file = Path(folder) / "oracle.toml"
        file.write_text(LAB)
        hvsim.ok("up", "--quiet", str(file))
        try:
            write(dict(zip(texts, ask(hvsim, xl, Path(folder), texts), strict=True)))
        finally:
            hvsim.ok("down")
    print(f"{RECORD}: {len(texts)} configs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
