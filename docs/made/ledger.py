"""Lines of the ledger, from the table beside it."""

from docs.made.text import code, page, table
from hvsim.hypervisor.kinds import COUNTED, FIELDS, KINDS


def kinds() -> str:
    """The page of kinds."""
    rows = [
        (
            code(name),
            kind.text,
            "; ".join(f"{code(key)}: {text}" for key, text in kind.fields.items()) or "-",
        )
        for name, kind in KINDS.items()
    ]
    return page(
        "Lines of the ledger",
        "The ledger is the hypervisor's record of what it decided. `hvsim events` prints it, "
        "`hvsim events --json` with all fields; `xl dmesg` has what services of dom0 have noted.",
        "## What every record has",
        table(("field", "meaning"), [(code(name), text) for name, text in FIELDS.items()]),
        "## Kinds",
        table(("kind", "what has happened", "further fields"), rows),
        "## Counted only",
        "What happens too often is counted, and not written down.",
        table(("counter", "of what"), [(code(name), text) for name, text in COUNTED.items()]),
    )
