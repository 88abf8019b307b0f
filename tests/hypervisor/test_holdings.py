"""What a domain holds, told as data: its ports, and its pages that others have mapped."""

from hvsim.abi.errno import EPERM, ESRCH
from hvsim.abi.event_channel import EVTCHNOP_alloc_unbound, EVTCHNOP_bind_interdomain
from hvsim.abi.grant_table import GNTTABOP_unmap_grant_ref
from hvsim.abi.hypercall import (
    DOMID_SELF,
    HVSIM_SYSCTL_holdings,
    HYPERVISOR_grant_table_op,
    HYPERVISOR_sysctl,
)
from hvsim.hypervisor.ops.holdings import MAX_ROWS
from tests.hypervisor.client import Dom, Lab


def held(lab: Lab, dom: Dom) -> dict[str, object]:
    row: dict[str, object] = lab.dom0.call(HYPERVISOR_sysctl, HVSIM_SYSCTL_holdings, dom.domid)
    return row


def test_ports_and_grants(lab: Lab) -> None:
    """Red when the other end is left out, or a page that is no longer mapped is told."""
    front, back = lab.guest(), lab.guest()
    offered = front.evtchn(EVTCHNOP_alloc_unbound, DOMID_SELF, back.domid)
    bound = back.evtchn(EVTCHNOP_bind_interdomain, front.domid, offered)
    _, gfn, _ = front.extent(1)
    front.grant(8, back.domid, gfn)
    rows, _ = back.map(front.domid, 8)
    seen = held(lab, front)
    assert seen["ports"] == [
        {
            "port": offered,
            "status": "interdomain",
            "remote": back.domid,
            "remote_port": bound,
            "virq": None,
            "pending": False,
            "masked": False,
        }
    ]
    assert seen["grants"] == [
        {"ref": 8, "peer": back.domid, "gfn": gfn, "readers": 0, "writers": 1}
    ]
    assert held(lab, back)["mapped"] == 1
    back.call(HYPERVISOR_grant_table_op, GNTTABOP_unmap_grant_ref, [rows[0][1]])
    assert (held(lab, front)["grants"], held(lab, back)["mapped"]) == ([], 0)


def test_mappings_that_find_no_room_in_the_answer_are_counted(lab: Lab) -> None:
    """Red with `users` of the rows: a guest with an interface and persistent grants has more."""
    front, back = lab.guest(), lab.guest()
    _, gfn, _ = front.extent(1)
    for ref in range(8, 8 + MAX_ROWS + 20):
        front.grant(ref, back.domid, gfn)
        back.map(front.domid, ref)
    seen = held(lab, front)
    assert len(seen["grants"]) == MAX_ROWS  # type: ignore[arg-type]
    assert seen["users"] == held(lab, back)["mapped"] == MAX_ROWS + 20


def test_only_those_who_may_look(lab: Lab) -> None:
    lab.guest().call(HYPERVISOR_sysctl, HVSIM_SYSCTL_holdings, 0, expect=EPERM)
    lab.dom0.call(HYPERVISOR_sysctl, HVSIM_SYSCTL_holdings, 99, expect=ESRCH)
