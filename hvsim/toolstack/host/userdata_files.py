"""The files of the toolstack's notes (``userdata``): where they are, and what is in them, as it is.

For the toolstack, and for whoever looks without it; so it imports next to nothing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

FORMAT: Final = 1
FOLDER: Final = "libxl"
"""In the run directory."""
_NAME: Final = re.compile(r"userdata-d\.(\d{1,5})\.([0-9a-f-]{36})\.hvsim")


def file_name(domid: int, uuid: str) -> str:
    """The file of a domain's note."""
    return f"userdata-d.{domid}.{uuid}.hvsim"


def read_raw(
    folder: Path, log: Callable[[str], None] = lambda text: None
) -> Iterator[dict[str, Any]]:
    """The notes in *folder*, by domid; *log* is told of those that cannot be read."""
    try:
        names = [name for name in os.listdir(folder) if _NAME.fullmatch(name)]
    except FileNotFoundError:
        return
    for name in sorted(names, key=lambda name: int(name.split(".")[1])):
        try:
            raw = json.loads((folder / name).read_text("utf-8"))
            if not isinstance(raw, dict) or raw.get("format") != FORMAT:
                raise ValueError("of another format")
            if not (type(raw.get("domid")) is int and isinstance(raw.get("name"), str)):
                raise ValueError("of no domain")
        except FileNotFoundError:
            continue  # removed meanwhile
        except (OSError, ValueError) as failure:
            log(f"{name} cannot be read: {failure!r}")
        else:
            yield raw
