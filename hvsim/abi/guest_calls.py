"""Arguments of hypercalls as they lie in the memory of a program (xen/domctl.h, xen/sysctl.h,
xen/version.h).

Our own wire carries msgpack; these are met where a real Xen program makes a hypercall through
/dev/xen/privcmd.  A union lies behind its structure's head, at ``DOMCTL.size`` and ``SYSCTL.size``.
"""

from typing import Final

from hvsim.abi.layout import ByteLayout, Layout

DOMCTL: Final = Layout(
    "head of struct xen_domctl",
    [("cmd", "I"), ("interface_version", "I"), ("domain", "H"), ("_pad", "3H")],
)
"""Its head only; the whole is DOMCTL_SIZE."""
DOMCTL_SIZE: Final = 144
SYSCTL: Final = Layout("head of struct xen_sysctl", [("cmd", "I"), ("interface_version", "I")])
"""Its head only; the whole is SYSCTL_SIZE."""
SYSCTL_SIZE: Final = 136

MULTICALL_ENTRY: Final = Layout(
    "struct multicall_entry", [("op", "Q"), ("result", "Q"), ("args", "6Q")]
)
GETDOMAININFOLIST: Final = Layout(
    "struct xen_sysctl_getdomaininfolist",
    [("first_domain", "H"), ("max_domains", "I"), ("buffer", "Q"), ("num_domains", "I")],
)
PHYSINFO: Final = Layout(
    "struct xen_sysctl_physinfo",
    [
        ("threads_per_core", "I"),
        ("cores_per_socket", "I"),
        ("nr_cpus", "I"),
        ("max_cpu_id", "I"),
        ("nr_nodes", "I"),
        ("max_node_id", "I"),
        ("cpu_khz", "I"),
        ("capabilities", "I"),
        ("arch_capabilities", "I"),
        ("pad", "I"),
        ("total_pages", "Q"),
        ("free_pages", "Q"),
        ("scrub_pages", "Q"),
        ("outstanding_pages", "Q"),
        ("max_mfn", "Q"),
        ("hw_cap", "8I"),
    ],
)
XEN_SYSCTL_PHYSCAP_pv: Final = 1 << 1
XEN_SYSCTL_PHYSCAP_gnttab_v1: Final = 1 << 8
SCHED_ID: Final = Layout("struct xen_sysctl_sched_id", [("sched_id", "I")])
XEN_SCHEDULER_CREDIT2: Final = 6
READCONSOLE: Final = Layout(
    "struct xen_sysctl_readconsole",
    [
        ("clear", "B"),
        ("incremental", "B"),
        ("pad0", "B"),
        ("pad1", "B"),
        ("index", "I"),
        ("buffer", "Q"),
        ("count", "I"),
    ],
)
SCHEDULER_OP: Final = Layout(
    "head of struct xen_sysctl_scheduler_op",
    [("cpupool_id", "I"), ("sched_id", "I"), ("cmd", "I"), ("u", "Q")],
)
"""What credit2 has in the union is its lower half: how often it switches at most, in us."""
XEN_SYSCTL_SCHEDOP_putinfo: Final = 0
XEN_SYSCTL_SCHEDOP_getinfo: Final = 1
DEBUG_KEYS: Final = Layout("struct xen_sysctl_debug_keys", [("keys", "Q"), ("nr_keys", "I")])
AVAILHEAP: Final = Layout(
    "struct xen_sysctl_availheap",
    [("min_bitwidth", "I"), ("max_bitwidth", "I"), ("node", "i"), ("avail_bytes", "Q")],
)
CPU_POLICY: Final = Layout(
    "struct xen_sysctl_cpu_policy",
    [
        ("index", "I"),
        ("nr_leaves", "I"),
        ("nr_msrs", "I"),
        ("_rsvd", "I"),
        ("leaves", "Q"),
        ("msrs", "Q"),
    ],
)
CPU_FEATURESET: Final = Layout(
    "struct xen_sysctl_cpu_featureset",
    [("index", "I"), ("nr_features", "I"), ("features", "Q")],
)
BITMAP: Final = Layout("struct xenctl_bitmap", [("bitmap", "Q"), ("nr_bits", "I")])
CPUTOPO: Final = Layout(
    "struct xen_sysctl_cputopo", [("core", "I"), ("socket", "I"), ("node", "I")]
)
CPUTOPOINFO: Final = Layout("struct xen_sysctl_cputopoinfo", [("num_cpus", "I"), ("cputopo", "Q")])
MEMINFO: Final = Layout("struct xen_sysctl_meminfo", [("memsize", "Q"), ("memfree", "Q")])
NUMAINFO: Final = Layout(
    "struct xen_sysctl_numainfo", [("num_nodes", "I"), ("meminfo", "Q"), ("distance", "Q")]
)
PCITOPOINFO: Final = Layout(
    "struct xen_sysctl_pcitopoinfo", [("num_devs", "I"), ("devs", "Q"), ("nodes", "Q")]
)
XEN_INVALID_DEV: Final = 0xFFFF_FFFE
CPUPOOL_OP: Final = Layout(
    "struct xen_sysctl_cpupool_op",
    [
        ("op", "I"),
        ("cpupool_id", "I"),
        ("sched_id", "I"),
        ("domid", "I"),
        ("cpu", "I"),
        ("n_dom", "I"),
        ("cpumap.bitmap", "Q"),
        ("cpumap.nr_bits", "I"),
    ],
)
XEN_SYSCTL_CPUPOOL_OP_INFO: Final = 3
XEN_SYSCTL_CPUPOOL_OP_FREEINFO: Final = 7
XEN_SYSCTL_CPUPOOL_PAR_ANY: Final = 0xFFFFFFFF

GETVCPUINFO: Final = Layout(
    "struct xen_domctl_getvcpuinfo",
    [
        ("vcpu", "I"),
        ("online", "B"),
        ("blocked", "B"),
        ("running", "B"),
        ("cpu_time", "Q"),
        ("cpu", "I"),
    ],
)
VCPUAFFINITY: Final = Layout(
    "struct xen_domctl_vcpuaffinity",
    [
        ("vcpu", "I"),
        ("flags", "I"),
        ("cpumap_hard.bitmap", "Q"),
        ("cpumap_hard.nr_bits", "I"),
        ("cpumap_soft.bitmap", "Q"),
        ("cpumap_soft.nr_bits", "I"),
    ],
)

MAX_MEM: Final = Layout("struct xen_domctl_max_mem", [("max_memkb", "Q")])
SENDTRIGGER: Final = Layout("struct xen_domctl_sendtrigger", [("trigger", "I"), ("vcpu", "I")])
DOMAIN_SCHEDULER_OP: Final = Layout(
    "head of struct xen_domctl_scheduler_op",
    [("sched_id", "I"), ("cmd", "I"), ("u.credit2.weight", "H"), ("u.credit2.cap", "H")],
)
SCHED_CAP_UNCHANGED: Final = 0xFFFF
DOMAIN_CPU_POLICY: Final = Layout(
    "struct xen_domctl_cpu_policy",
    [
        ("nr_leaves", "I"),
        ("nr_msrs", "I"),
        ("leaves", "Q"),
        ("msrs", "Q"),
        ("err_leaf", "I"),
        ("err_subleaf", "I"),
        ("err_msr", "I"),
    ],
)

COMPILE_INFO: Final = ByteLayout(
    "xen_compile_info_t",
    [
        ("compiler", "64s"),
        ("compile_by", "16s"),
        ("compile_domain", "32s"),
        ("compile_date", "32s"),
    ],
)
XENVER_compile_info: Final = 2
XENVER_platform_parameters: Final = 5
XENVER_build_id: Final = 10
EXTRAVERSION_SIZE: Final = 16
CAPABILITIES_SIZE: Final = 1024
CHANGESET_SIZE: Final = 64
COMMANDLINE_SIZE: Final = 1024
FEATURE_INFO: Final = Layout("xen_feature_info_t", [("submap_idx", "I"), ("submap", "I")])
