"""hvsim demo"""

import argparse
import importlib.util
import random
from pathlib import Path

from hvsim.commands.common import count, daemon_options, json_option, print_json, seconds, tell
from hvsim.errors import HvsimError

HELP = """Tell a story: a lab comes up, a real SQLite database in a guest commits transactions on a
virtual disk, the domain that serves the disk is killed with SIGKILL in the middle of it, comes
back, and the database is judged: how many commits were acknowledged, how many are there.

recovery_ms is the time from the SIGKILL until the database's device is Connected at the new
backend, both halves; in that very step the frontend issues its unanswered requests again.
commit_gap_ms is the time until the first commit acknowledged after that.

Afterwards a second lab has a client, a web server and a database on a network of its own: a request
crosses both, and goes on when the network's and the disk's driver domains are killed. It is told
with the plain story; --network and --no-network decide otherwise.

--sabotage breaks something on purpose by a rule, to see that the verdict can be bad:
  forget-unanswered  ring=forget: a frontend forgets its unanswered requests
                     when the backend dies
  drop-unflushed     media=lost-flush: the backend ignores FLUSH and holds
                     writes back"""
EXAMPLE = """  hvsim demo
  hvsim demo --kills 100 --json
  hvsim demo --kills 20 --sabotage drop-unflushed    # must report loss
  hvsim demo --store xenstored      # with Debian's C xenstored in dom0"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument(
        "--kills",
        type=count,
        default=1,
        metavar="N",
        help="how often the storage domain is killed (default: 1)",
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        metavar="S",
        help="how long the database commits (default: as long as the kills take)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="picks the moments of the kills (default: drawn and told)",
    )
    parser.add_argument(
        "--lab",
        type=Path,
        dest="file",
        metavar="FILE",
        help="another lab file (default: configs/two-tier.toml)",
    )
    parser.add_argument("--name", metavar="N", help="call the lab N")
    parser.add_argument(
        "--sabotage", choices=("forget-unanswered", "drop-unflushed"), help="a negative control"
    )
    parser.add_argument(
        "--network",
        action=argparse.BooleanOptionalAction,
        help="the second lab as well, or not (default: with the plain story)",
    )
    daemon_options(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0: nothing lost, nothing left. 1: something was."""
    if importlib.util.find_spec("apsw") is None:
        raise HvsimError(
            "the demo's database is SQLite by apsw, which is not installed: "
            "`pip install 'hvsim[demo]'` (or `pip install apsw`)"
        )
    from hvsim.demo.network import tell_network
    from hvsim.demo.story import DEFAULT_LAB, Options
    from hvsim.demo.story import tell as tell_story
    from hvsim.demo.tell import Teller

    seed = random.SystemRandom().randrange(1 << 31) if options.seed is None else options.seed
    asked = Options(
        kills=options.kills,
        seconds=options.seconds,
        seed=seed,
        lab=options.file or DEFAULT_LAB,
        name=options.name,
        sabotage=options.sabotage,
        store=options.store,
        console=options.console,
    )
    teller = Teller(silent=options.json)
    result = tell_story(asked, teller)
    network = tell_network(teller, seed) if _with_network(options) else None
    ok = result.ok and (network is None or network.ok)
    if options.json:
        row = result.as_json()
        if network is not None:
            row["network"] = network.as_json()
        print_json(row)
        return 0 if ok else 1
    tell("")
    for complaint in [*result.complaints(), *(network.complaints() if network else [])]:
        tell(complaint)
    if result.ok:
        tell(
            f"All {result.acknowledged} acknowledged commits are there, the database is sound, "
            "and nothing is left behind."
        )
    if network is not None and network.ok and not network.impossible:
        tell(
            f"All {network.acknowledged} commits that the client was told of over the network are "
            "there, and its connection was never lost."
        )
    return 0 if ok else 1


def _with_network(options: argparse.Namespace) -> bool:
    """The plain story has it; one that is about something else has not, unless asked."""
    if options.network is not None:
        return bool(options.network)
    plain = options.kills == 1 and options.file is None and options.sabotage is None
    return plain and not options.json
