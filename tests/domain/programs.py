"""Programs that test_start.py runs as domains."""

import sys

from hvsim.domain import Domain


def returns(dom: Domain) -> None:
    """Says something and ends."""
    dom.log(f"args {dom.args['word']}")


def reboots(dom: Domain) -> None:
    """Ends as it would after control/shutdown said reboot."""
    said: list[str] = []
    dom.on_shutdown(lambda: said.append("first"))
    dom.request_shutdown("reboot")
    dom.request_shutdown("poweroff")
    dom.on_shutdown(lambda: said.append("late"))
    dom.sleep(3600.0)
    dom.log(f"{dom.shutdown_requested} {said}")


def raises(dom: Domain) -> None:
    """Fails."""
    dom.log("about to fail")
    raise LookupError("the reason")


def leaves(dom: Domain) -> None:
    """Ends through sys.exit."""
    sys.exit(dom.args["status"])


def times_out(dom: Domain) -> None:
    """Waits for what never comes."""
    dom.wait(lambda: False, 0.01, "a miracle")


def floods(dom: Domain) -> None:
    """Writes more than a console whose daemon is asleep can take."""
    for _ in range(5000):
        dom.log("x" * 99)
    dom.dmesg(f"dropped {dom.console.dropped > 0}")


not_a_function = 5
