"""Control commands: domctl and sysctl (xen/domctl.h, xen/sysctl.h).

Only dom0 may use them, and a domain that was given rights over one other (``set_target``).
"""

from typing import Final

from hvsim.abi.layout import ByteLayout

XEN_DOMCTL_INTERFACE_VERSION: Final = 0x15
XEN_SYSCTL_INTERFACE_VERSION: Final = 0x15

XEN_DOMCTL_createdomain: Final = 1
XEN_DOMCTL_destroydomain: Final = 2
XEN_DOMCTL_pausedomain: Final = 3
XEN_DOMCTL_unpausedomain: Final = 4
XEN_DOMCTL_getdomaininfo: Final = 5
XEN_DOMCTL_setvcpuaffinity: Final = 9
XEN_DOMCTL_max_mem: Final = 11
XEN_DOMCTL_getvcpuinfo: Final = 14
XEN_DOMCTL_max_vcpus: Final = 15
XEN_DOMCTL_scheduler_op: Final = 16
XEN_DOMCTL_setdomainhandle: Final = 17
XEN_DOMCTL_getvcpuaffinity: Final = 25
XEN_DOMCTL_resumedomain: Final = 27
XEN_DOMCTL_sendtrigger: Final = 28
XEN_DOMCTL_set_target: Final = 46
XEN_DOMCTL_getnodeaffinity: Final = 69
XEN_DOMCTL_soft_reset: Final = 79

XEN_DOMCTL_get_cpu_policy: Final = 82

XEN_DOMCTL_SENDTRIGGER_NMI: Final = 0
XEN_DOMCTL_SENDTRIGGER_RESET: Final = 1
XEN_DOMCTL_SENDTRIGGER_INIT: Final = 2
XEN_DOMCTL_SENDTRIGGER_POWER: Final = 3
XEN_DOMCTL_SENDTRIGGER_SLEEP: Final = 4

XEN_VCPUAFFINITY_HARD: Final = 1
XEN_VCPUAFFINITY_SOFT: Final = 2
XEN_VCPUAFFINITY_FORCE: Final = 4

XEN_DOMCTL_SCHEDOP_putinfo: Final = 0
XEN_DOMCTL_SCHEDOP_getinfo: Final = 1
XEN_DOMCTL_SCHEDOP_putvcpuinfo: Final = 2
XEN_DOMCTL_SCHEDOP_getvcpuinfo: Final = 3

XEN_SYSCTL_readconsole: Final = 1
XEN_SYSCTL_physinfo: Final = 3
XEN_SYSCTL_sched_id: Final = 4
XEN_SYSCTL_getdomaininfolist: Final = 6
XEN_SYSCTL_debug_keys: Final = 7
XEN_SYSCTL_getcpuinfo: Final = 8
XEN_SYSCTL_availheap: Final = 9
XEN_SYSCTL_get_pmstat: Final = 10
XEN_SYSCTL_cpu_hotplug: Final = 11
XEN_SYSCTL_pm_op: Final = 12
XEN_SYSCTL_cputopoinfo: Final = 16
XEN_SYSCTL_numainfo: Final = 17
XEN_SYSCTL_cpupool_op: Final = 18
XEN_SYSCTL_scheduler_op: Final = 19
XEN_SYSCTL_coverage_op: Final = 20
XEN_SYSCTL_pcitopoinfo: Final = 22
XEN_SYSCTL_get_cpu_levelling_caps: Final = 25
XEN_SYSCTL_get_cpu_featureset: Final = 26
XEN_SYSCTL_livepatch_op: Final = 27
XEN_SYSCTL_get_cpu_policy: Final = 29

# ---- flags of xen_domctl_getdomaininfo ----

XEN_DOMINF_dying: Final = 1 << 0
XEN_DOMINF_hvm_guest: Final = 1 << 1
XEN_DOMINF_shutdown: Final = 1 << 2
XEN_DOMINF_paused: Final = 1 << 3
XEN_DOMINF_blocked: Final = 1 << 4
XEN_DOMINF_running: Final = 1 << 5
XEN_DOMINF_debugged: Final = 1 << 6
XEN_DOMINF_xs_domain: Final = 1 << 7
XEN_DOMINF_hap: Final = 1 << 8
XEN_DOMINF_shutdownmask: Final = 255
XEN_DOMINF_shutdownshift: Final = 16

XEN_INVALID_MAX_VCPU_ID: Final = 0xFFFFFFFF

GETDOMAININFO: Final = ByteLayout(
    "struct xen_domctl_getdomaininfo",
    [
        ("domain", "H"),
        ("pad1", "H"),
        ("flags", "I"),
        ("tot_pages", "Q"),
        ("max_pages", "Q"),
        ("outstanding_pages", "Q"),
        ("shr_pages", "Q"),
        ("paged_pages", "Q"),
        ("shared_info_frame", "Q"),
        ("cpu_time", "Q"),
        ("nr_online_vcpus", "I"),
        ("max_vcpu_id", "I"),
        ("ssidref", "I"),
        ("handle", "16s"),
        ("cpupool", "I"),
        ("gpaddr_bits", "B"),
        ("pad2", "7s"),
        ("arch_config", "8s"),
    ],
)
HANDLE_SIZE: Final = 16
"""Bytes of ``xen_domain_handle_t``, a domain's UUID."""
