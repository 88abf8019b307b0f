"""Who stands in the middle of event channels: the rule of a fault (``mediation``), or nobody."""

from hvsim.abi.errno import EINVAL
from hvsim.abi.hypercall import HVSIM_OP_event_mode, HYPERVISOR_hvsim_op
from hvsim.hypervisor.calls import Machine, Process, Steps, hypercall
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.mediation import Policy
from hvsim.hypervisor.wires import EVERYONE


@hypercall(HYPERVISOR_hvsim_op, HVSIM_OP_event_mode, int, str, dict)
def event_mode(
    machine: Machine, caller: Process, dom: int, mode: str, rule: dict[object, object]
) -> Steps:
    """(dom or -1 for all, "direct" | "mediated", rule) -> ports swapped

    Decides for what the domain sends. The rule is as in ``mediation``.
    """
    machine.privileged(caller)
    if dom != EVERYONE:
        dom = machine.domain(dom, caller).domid
    if mode == "mediated":
        machine.wires.set_policy(dom, Policy.parse(rule))
    elif mode == "direct" and not rule:
        machine.wires.set_policy(dom, None)
    else:
        raise XenError(EINVAL, f"event_mode: {mode!r}, rule {rule!r}"[:200])
    machine.ledger.record("event.mode", dom, f"events of {'all' if dom < 0 else f'd{dom}'}: {mode}")
    swapped = yield from machine.resettle()
    return (swapped,)
