"""hvsim xenstore timeline [DEVICE]"""

from collections.abc import Sequence

from hvsim.commands.common import (
    control_of,
    json_option,
    lab_option,
    print_json,
    say,
    warn,
)
from hvsim.commands.parser import Parser, columns
from hvsim.lab.our_store import needs_our_store
from hvsim.speak import is_terminal

DESCRIPTION = """How a device came up, step by step: what the guest's half and the backend's half
wrote into the store, who wrote it, and when; what the hypervisor did for them; which step broke a
rule of the handshake; and who waits for whom now.

DEVICE is GUEST/NAME or DOMID/NUMBER (db-primary/xvda, 2/51712) or a path in the store. Without it
every device is shown in short.

A device is two directories of the store, one for each half. Both halves walk through numbered
states: 1 Initialising, 2 InitWait, 3 Initialised, 4 Connected; 5 Closing, 6 Closed."""
EXAMPLE = """example:
  hvsim xenstore timeline
  hvsim xenstore timeline db-primary/xvda
  hvsim xenstore timeline 2/51712 --json"""


def parser() -> Parser:
    """Of its words."""
    parser = Parser(prog="hvsim xenstore timeline", description=DESCRIPTION, epilog=EXAMPLE)
    parser.add_argument("device", nargs="?", metavar="DEVICE", help="which (default: all)")
    json_option(parser)
    lab_option(parser)  # for the help: whoever calls has taken it out of the words
    return parser


def run_words(words: Sequence[str], lab: str | None) -> int:
    """Exit 0; 1 when no such device was seen, or no store answers."""
    options = parser().parse_args(list(words))

    from hvsim.lab.choose import choose
    from hvsim.lab.store import open_store
    from hvsim.observe.handshakes import choose_device, devices, history, plight
    from hvsim.observe.timeline import WIDTH, brief, render

    run = choose(lab)
    needs_our_store(run, "hvsim xenstore timeline")
    try:
        with (
            open_store(run) as store,
            control_of(run) as control,
        ):
            rows = devices(store)
            troubles = plight(run, control, rows)
            if options.device is None:
                if options.json:
                    print_json({"devices": rows, "plight": troubles})
                else:
                    say(*(brief(rows, troubles) or ["no device was seen yet"]))
                return 0
            row = choose_device(rows, options.device)
            records = history(run, store, row)
    except OSError as error:
        warn(f"hvsim xenstore timeline: the store does not answer: {error}")
        return 1
    if options.json:
        print_json(
            {
                **row,
                "plight": troubles,
                "timeline": sorted(records, key=lambda record: record["mono"]),
            }
        )
    else:
        say(*render(row, records, troubles, columns() if is_terminal() else WIDTH))
    return 0
