"""The program of a network driver domain: netback, and a bridge in a network of its own.

It serves every `backend/vif` that the toolstack makes in this domain's tree: each gets a link
`vif<domid>.<n>` on the bridge that it names, as `xl devd` and vif-bridge do in a real one. Nothing
here touches a link of the machine.

Options, on the command line of the domain or as its args:

    bridge=xenbr0      bridges that are there from the start, with commas between them; others are
                       made when a vif names them
    address=           the domain's own address on the first of them, 10.0.0.1/24, so that guests
                       reach the domain itself; several with commas between them

With `frames = "own"` in its args it has no network stack: frames pass between its vifs in its own
process (`hvsim.drivers.net.switch`), as a lab in lockstep needs it. It has no address then.
"""

from __future__ import annotations

from domains.guests.options import option, words
from hvsim.domain import Domain
from hvsim.domain.loading import ProgramError
from hvsim.drivers.net.back import MakeLink, NetBack
from hvsim.drivers.net.bridges import DEFAULT_BRIDGE, Bridges
from hvsim.drivers.net.frames import own_frames
from hvsim.drivers.net.switch import Switch
from hvsim.drivers.split import devd

REFUSED = {
    "nat": "a network domain has no way out of the lab; guests reach each other and the domain",
    "host_interface": "a network domain does not take interfaces of the machine",
}
"""Words that people try, and what is so instead."""


class BadOption(ProgramError):
    """A word of the command line that cannot be followed."""


def main(dom: Domain) -> None:
    """Serve vifs until the shutdown request.

    Raises: NoLink; BadOption: a bridge or an address that cannot be had, a word that is refused.
    """
    dom.starting()
    found = words(dom)
    for word, why in REFUSED.items():
        if option(found, word, "") not in ("", "0"):
            raise BadOption(f"{word}={found[word]}: {why}")
    names = [name for name in option(found, "bridge", DEFAULT_BRIDGE).split(",") if name]
    addresses = tuple(one for one in option(found, "address", "").split(",") if one)
    if own_frames(dom.args):
        if addresses:
            raise BadOption(f'address={addresses[0]}: with frames = "own" the domain has none')
        make_link: MakeLink = Switch(dom.vcpu).make_link
    else:
        make_link = _linux(dom, names, addresses)
    NetBack.register(dom, make_link)
    devd.serve(dom)
    dom.ready(f"network on {', '.join(names)}")
    dom.serve()
    dom.backends.stop()


def _linux(dom: Domain, names: list[str], addresses: tuple[str, ...]) -> MakeLink:
    """What makes the links on bridges of Linux', the first of which has these addresses."""
    bridges = Bridges(dom.log)
    for number, name in enumerate(names):
        try:
            bridges.add(name, addresses if number == 0 else ())
        except (OSError, ValueError) as failure:
            raise BadOption(f"bridge {name}: {failure}") from None
    return bridges.make_link
