"""The page that the hypervisor shares with a vCPU: its time and the wall clock (xen/xen.h).

Both follow one protocol.  The writer makes the version odd, changes what it stands for, and makes
it even again; a reader that sees an odd version, or another one after than before, reads again.
"""

from typing import Final

from hvsim.abi.hypercall import XEN_LEGACY_MAX_VCPUS
from hvsim.abi.layout import ByteLayout, Layout

XEN_PVCLOCK_TSC_STABLE_BIT: Final = 1 << 0
"""The times of all vCPUs agree: who reads the TSC of one may compare it with another's."""
XEN_PVCLOCK_GUEST_STOPPED: Final = 1 << 1
"""The vCPU was stopped by somebody; a guest's own watchdogs forgive the pause."""

ARCH_VCPU_INFO: Final = Layout("arch_vcpu_info_t", [("cr2", "Q"), ("pad", "Q")])
VCPU_TIME_INFO: Final = Layout(
    "vcpu_time_info_t",
    [
        ("version", "I"),
        ("pad0", "I"),
        ("tsc_timestamp", "Q"),
        ("system_time", "Q"),
        ("tsc_to_system_mul", "I"),
        ("tsc_shift", "b"),
        ("flags", "B"),
        ("pad1", "2B"),
    ],
)
VCPU_INFO: Final = ByteLayout(
    "vcpu_info_t",
    [
        ("evtchn_upcall_pending", "B"),
        ("evtchn_upcall_mask", "B"),
        ("evtchn_pending_sel", "Q"),
        ("arch", f"{ARCH_VCPU_INFO.size}s"),
        ("time", f"{VCPU_TIME_INFO.size}s"),
    ],
)
ARCH_SHARED_INFO: Final = Layout(
    "arch_shared_info_t",
    [
        ("max_pfn", "Q"),
        ("pfn_to_mfn_frame_list_list", "Q"),
        ("nmi_reason", "Q"),
        ("p2m_cr3", "Q"),
        ("p2m_vaddr", "Q"),
        ("p2m_generation", "Q"),
    ],
)
SHARED_INFO: Final = ByteLayout(
    "shared_info_t",
    [
        ("vcpu_info", f"{XEN_LEGACY_MAX_VCPUS * VCPU_INFO.size}s"),
        ("evtchn_pending", "64Q"),
        ("evtchn_mask", "64Q"),
        ("wc_version", "I"),
        ("wc_sec", "I"),
        ("wc_nsec", "I"),
        ("wc_sec_hi", "I"),
        ("arch", f"{ARCH_SHARED_INFO.size}s"),
    ],
)
WALL_CLOCK: Final = Layout(
    "wall clock", [("wc_version", "I"), ("wc_sec", "I"), ("wc_nsec", "I"), ("wc_sec_hi", "I")]
)
"""The four words of it from ``wc_version`` on."""
