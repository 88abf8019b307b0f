"""Event channels: commands, states and virtual interrupts (xen/event_channel.h, xen/xen.h)."""

from typing import Final

from hvsim.abi.layout import Layout

EVTCHNOP_bind_interdomain: Final = 0
EVTCHNOP_bind_virq: Final = 1
EVTCHNOP_bind_pirq: Final = 2
EVTCHNOP_close: Final = 3
EVTCHNOP_send: Final = 4
EVTCHNOP_status: Final = 5
EVTCHNOP_alloc_unbound: Final = 6
EVTCHNOP_bind_ipi: Final = 7
EVTCHNOP_bind_vcpu: Final = 8
EVTCHNOP_unmask: Final = 9
EVTCHNOP_reset: Final = 10
EVTCHNOP_init_control: Final = 11
EVTCHNOP_expand_array: Final = 12
EVTCHNOP_set_priority: Final = 13

EVTCHNSTAT_closed: Final = 0
EVTCHNSTAT_unbound: Final = 1
EVTCHNSTAT_interdomain: Final = 2
EVTCHNSTAT_pirq: Final = 3
EVTCHNSTAT_virq: Final = 4
EVTCHNSTAT_ipi: Final = 5

VIRQ_TIMER: Final = 0
VIRQ_DEBUG: Final = 1
VIRQ_CONSOLE: Final = 2
VIRQ_DOM_EXC: Final = 3
VIRQ_TBUF: Final = 4
VIRQ_DEBUGGER: Final = 6
VIRQ_XENOPROF: Final = 7
VIRQ_CON_RING: Final = 8
VIRQ_PCPU_STATE: Final = 9
VIRQ_MEM_EVENT: Final = 10
VIRQ_ARGO: Final = 11
VIRQ_ENOMEM: Final = 12
VIRQ_XENPMU: Final = 13
NR_VIRQS: Final = 24

GLOBAL_VIRQS: Final = frozenset(
    {
        VIRQ_CONSOLE,
        VIRQ_DOM_EXC,
        VIRQ_TBUF,
        VIRQ_DEBUGGER,
        VIRQ_CON_RING,
        VIRQ_PCPU_STATE,
        VIRQ_MEM_EVENT,
        VIRQ_ARGO,
        VIRQ_ENOMEM,
    }
)
"""Virtual interrupts marked ``G.`` in xen/xen.h: one binder in the whole system."""

DOM0_VIRQS: Final = GLOBAL_VIRQS - {VIRQ_ARGO}
"""Those of them that xen/xen.h marks ``(DOM0)``: only the control domain may bind them."""

EVTCHN_2L_NR_CHANNELS: Final = 4096
"""Ports 0..4095: what a domain without FIFO events can name (port 0 is never handed out)."""

EVTCHN_FIFO_PENDING: Final = 31
EVTCHN_FIFO_MASKED: Final = 30
EVTCHN_FIFO_LINKED: Final = 29
EVTCHN_FIFO_BUSY: Final = 28
EVTCHN_FIFO_LINK_BITS: Final = 17
EVTCHN_FIFO_NR_CHANNELS: Final = 1 << EVTCHN_FIFO_LINK_BITS
EVTCHN_FIFO_PRIORITY_MAX: Final = 0
EVTCHN_FIFO_PRIORITY_DEFAULT: Final = 7
EVTCHN_FIFO_PRIORITY_MIN: Final = 15
EVTCHN_FIFO_MAX_QUEUES: Final = EVTCHN_FIFO_PRIORITY_MIN + 1

# The argument structures. Our wire carries the members as msgpack values; the layouts are here
# for whoever meets them in a dump of a real guest.

ALLOC_UNBOUND: Final = Layout(
    "evtchn_alloc_unbound_t", [("dom", "H"), ("remote_dom", "H"), ("port", "I")]
)
BIND_INTERDOMAIN: Final = Layout(
    "evtchn_bind_interdomain_t",
    [("remote_dom", "H"), ("remote_port", "I"), ("local_port", "I")],
)
BIND_VIRQ: Final = Layout("evtchn_bind_virq_t", [("virq", "I"), ("vcpu", "I"), ("port", "I")])
BIND_PIRQ: Final = Layout("evtchn_bind_pirq_t", [("pirq", "I"), ("flags", "I"), ("port", "I")])
BIND_IPI: Final = Layout("evtchn_bind_ipi_t", [("vcpu", "I"), ("port", "I")])
CLOSE: Final = Layout("evtchn_close_t", [("port", "I")])
SEND: Final = Layout("evtchn_send_t", [("port", "I")])
STATUS: Final = Layout(
    "evtchn_status_t",
    [("dom", "H"), ("port", "I"), ("status", "I"), ("vcpu", "I"), ("u", "2I")],
)
BIND_VCPU: Final = Layout("evtchn_bind_vcpu_t", [("port", "I"), ("vcpu", "I")])
UNMASK: Final = Layout("evtchn_unmask_t", [("port", "I")])
RESET: Final = Layout("evtchn_reset_t", [("dom", "H")])
INIT_CONTROL: Final = Layout(
    "evtchn_init_control_t",
    [("control_gfn", "Q"), ("offset", "I"), ("vcpu", "I"), ("link_bits", "B"), ("_pad", "7B")],
)
EXPAND_ARRAY: Final = Layout("evtchn_expand_array_t", [("array_gfn", "Q")])
SET_PRIORITY: Final = Layout("evtchn_set_priority_t", [("port", "I"), ("priority", "I")])
FIFO_CONTROL_BLOCK: Final = Layout(
    "evtchn_fifo_control_block_t",
    [("ready", "I"), ("_rsvd", "I"), ("head", f"{EVTCHN_FIFO_MAX_QUEUES}I")],
)
EVENT_WORD: Final = Layout("event_word_t", [("word", "I")])
