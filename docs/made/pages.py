"""All pages that are made from the code, by the name of their file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs.made import commands, faults, lab, ledger, python, rows

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "lab-file.md": lab.keys,
    "scenario-file.md": lab.of_scenarios,
    "commands.md": commands.commands,
    "json.md": rows.fields,
    "exit-codes.md": commands.exits,
    "faults.md": faults.faults,
    "ledger.md": ledger.kinds,
    "python.md": python.domain,
    "drivers.md": python.drivers,
    "store.md": python.store,
}


def write(folder: Path) -> None:
    """Make them in *folder*; what has not changed stays untouched, so that it is not built anew."""
    for name, make in PAGES.items():
        file, text = folder / name, make()
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
