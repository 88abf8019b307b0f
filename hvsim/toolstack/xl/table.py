"""Every verb that xl 4.17 has: its name, its usage, a line about it (xl_cmdtable.c).

A verb may be shortened to whatever names no other verb (``xl des`` is destroy), so all are here,
also those that are not built.  Held against the installed xl by tests/fidelity.
"""

from typing import Final, NamedTuple


class Verb(NamedTuple):
    """One verb.

    Attributes:
        flags: "f" when it changes something, which ``xl -f`` forces; "N" when ``xl -N`` can show
            what it would do.
        usage: its arguments; "" without any.
    """

    name: str
    flags: str
    usage: str
    summary: str


_ROWS: Final = (
    Verb(
        "create",
        "fN",
        "<ConfigFile> [options] [vars]",
        "Create a domain from config file <filename>",
    ),
    Verb(
        "config-update",
        "fN",
        "<Domain> <ConfigFile> [options] [vars]",
        "Update a running domain's saved configuration, used when rebuilding the domain after "
        "reboot.\nWARNING: xl now has better capability to manage domain configuration, avoid "
        "using this command when possible",
    ),
    Verb("list", "", "[options] [Domain]\n", "List information about all/some domains"),
    Verb("destroy", "f", "[options] <Domain>\n", "Terminate a domain immediately"),
    Verb("shutdown", "f", "[options] <-a|Domain>", "Issue a shutdown signal to a domain"),
    Verb("reboot", "f", "[options] <-a|Domain>", "Issue a reboot signal to a domain"),
    Verb("pci-attach", "f", "<Domain> <PCI_SPEC_STRING>", "Insert a new pass-through pci device"),
    Verb(
        "pci-detach", "f", "<Domain> <PCI_SPEC_STRING>", "Remove a domain's pass-through pci device"
    ),
    Verb("pci-list", "", "<Domain>", "List pass-through pci devices for a domain"),
    Verb("pci-assignable-add", "f", "[options] <BDF>", "Make a device assignable for pci-passthru"),
    Verb(
        "pci-assignable-remove",
        "f",
        "[options] <BDF>|NAME",
        "Remove a device from being assignable",
    ),
    Verb("pci-assignable-list", "", "[options]", "List all the assignable pci devices"),
    Verb("pause", "f", "<Domain>", "Pause execution of a domain"),
    Verb("unpause", "f", "<Domain>", "Unpause a paused domain"),
    Verb(
        "console",
        "",
        "[options] <Domain>\n-t <type>       console type, pv , serial or vuart\n-n <number>     "
        "console number",
        "Attach to domain's console",
    ),
    Verb(
        "vncviewer",
        "",
        "[options] <Domain>\n--autopass               Pass VNC password to viewer via stdin "
        "and\n                         -autopass\n--vncviewer-autopass     (consistency alias "
        "for --autopass)",
        "Attach to domain's VNC server.",
    ),
    Verb(
        "save",
        "f",
        "[options] <Domain> <CheckpointFile> [<ConfigFile>]",
        "Save a domain state to restore later",
    ),
    Verb("migrate", "f", "[options] <Domain> <host>", "Migrate a domain to another host"),
    Verb(
        "restore",
        "f",
        "[options] [<ConfigFile>] <CheckpointFile>",
        "Restore a domain from a saved state",
    ),
    Verb("migrate-receive", "f", "- for internal use only", "Restore a domain from a saved state"),
    Verb("dump-core", "f", "<Domain> <filename>", "Core dump a domain"),
    Verb(
        "cd-insert",
        "fN",
        "<Domain> <VirtualDevice> <path>",
        "Insert a cdrom into a guest's cd drive",
    ),
    Verb("cd-eject", "fN", "<Domain> <VirtualDevice>", "Eject a cdrom from a guest's cd drive"),
    Verb(
        "mem-max",
        "f",
        "<Domain> <MemMB['b'[bytes]|'k'[KB]|'m'[MB]|'g'[GB]|'t'[TB]]>",
        "Set the maximum amount reservation for a domain",
    ),
    Verb(
        "mem-set",
        "f",
        "<Domain> <MemMB['b'[bytes]|'k'[KB]|'m'[MB]|'g'[GB]|'t'[TB]]>",
        "Set the current memory usage for a domain",
    ),
    Verb("button-press", "f", "<Domain> <Button>", "Indicate an ACPI button press to the domain"),
    Verb("vcpu-list", "", "[Domain, ...]", "List the VCPUs for all/some domains"),
    Verb(
        "vcpu-pin",
        "fN",
        "[option] <Domain> <VCPU|all> <Hard affinity|-|all> <Soft affinity|-|all>",
        "Set which CPUs a VCPU can use",
    ),
    Verb(
        "vcpu-set",
        "f",
        "[option] <Domain> <vCPUs>",
        "Set the number of active VCPUs allowed for the domain",
    ),
    Verb("vm-list", "", "", "List guest domains, excluding dom0, stubdoms, etc."),
    Verb(
        "info",
        "",
        "-n, --numa         List host NUMA topology information",
        "Get information about Xen host",
    ),
    Verb("sharing", "", "[Domain]", "Get information about page sharing"),
    Verb(
        "sched-credit",
        "f",
        "[-d <Domain> [-w[=WEIGHT]|-c[=CAP]]] [-s [-t TSLICE] [-r RATELIMIT]] [-p CPUPOOL]",
        "Get/set credit scheduler parameters",
    ),
    Verb(
        "sched-credit2",
        "f",
        "[-d <Domain> [-w[=WEIGHT]]] [-p CPUPOOL]",
        "Get/set credit2 scheduler parameters",
    ),
    Verb(
        "sched-rtds",
        "f",
        "[-d <Domain> [-v[=VCPUID/all]] [-p[=PERIOD]] [-b[=BUDGET]] [-e[=Extratime]]]",
        "Get/set rtds scheduler parameters",
    ),
    Verb("domid", "", "<DomainName>", "Convert a domain name to domain id"),
    Verb("domname", "", "<DomainId>", "Convert a domain id to domain name"),
    Verb("rename", "f", "<Domain> <NewDomainName>", "Rename a domain"),
    Verb(
        "trigger",
        "f",
        "<Domain> <nmi|reset|init|power|sleep|s3resume> [<VCPU>]",
        "Send a trigger to a domain",
    ),
    Verb("sysrq", "f", "<Domain> <letter>", "Send a sysrq to a domain"),
    Verb("debug-keys", "f", "<Keys>", "Send debug keys to Xen"),
    Verb("set-parameters", "f", "<Params>", "Set hypervisor parameters"),
    Verb("dmesg", "", "[-c]", "Read and/or clear dmesg buffer"),
    Verb("top", "", "", "Monitor a host and the domains in real time"),
    Verb(
        "network-attach",
        "fN",
        "<Domain> [type=<type>] [mac=<mac>] [bridge=<bridge>] [ip=<ip>] [script=<script>] "
        "[backend=<BackDomain>] [vifname=<name>] [rate=<rate>] [model=<model>] [accel=<accel>] "
        "[mtu=<mtu>]",
        "Create a new virtual network device",
    ),
    Verb("network-list", "", "<Domain(s)>", "List virtual network interfaces for a domain"),
    Verb(
        "network-detach", "f", "<Domain> <DevId|mac>", "Destroy a domain's virtual network device"
    ),
    Verb("channel-list", "", "<Domain(s)>", "List virtual channel devices for a domain"),
    Verb(
        "block-attach",
        "fN",
        "<Domain> <disk-spec-component(s)>...",
        "Create a new virtual block device",
    ),
    Verb("block-list", "", "<Domain(s)>", "List virtual block devices for a domain"),
    Verb(
        "block-detach", "f", "[option] <Domain> <DevId>", "Destroy a domain's virtual block device"
    ),
    Verb(
        "vtpm-attach",
        "fN",
        "<Domain> [uuid=<uuid>] [backend=<BackDomain>]",
        "Create a new virtual TPM device",
    ),
    Verb("vtpm-list", "", "<Domain(s)>", "List virtual TPM devices for a domain"),
    Verb("vtpm-detach", "f", "<Domain> <DevId|uuid>", "Destroy a domain's virtual TPM device"),
    Verb(
        "vkb-attach",
        "fN",
        "<Domain> <vkb-spec-component(s)>...",
        "Create a new virtual keyboard device",
    ),
    Verb("vkb-list", "", "<Domain(s)>", "List virtual keyboard devices for a domain"),
    Verb("vkb-detach", "f", "<Domain> <DevId>", "Destroy a domain's virtual keyboard device"),
    Verb(
        "vdispl-attach",
        "fN",
        "<Domain> [backend=<BackDomain>] [be-alloc=<BackAlloc>] [connectors='<Connectors>']",
        "Create a new virtual display device",
    ),
    Verb("vdispl-list", "", "<Domain(s)>", "List virtual display devices for a domain"),
    Verb("vdispl-detach", "f", "<Domain> <DevId>", "Destroy a domain's virtual display device"),
    Verb(
        "vsnd-attach",
        "fN",
        "<Domain> <vsnd-spec-component(s)>...",
        "Create a new virtual sound device",
    ),
    Verb("vsnd-list", "", "<Domain(s)>", "List virtual display devices for a domain"),
    Verb("vsnd-detach", "f", "<Domain> <DevId>", "Destroy a domain's virtual sound device"),
    Verb("uptime", "", "[-s] [Domain]", "Print uptime for all/some domains"),
    Verb("claims", "", "", "List outstanding claim information about all domains"),
    Verb(
        "cpupool-create",
        "fN",
        "[options] [<ConfigFile>] [Variable=value ...]",
        "Create a new CPU pool",
    ),
    Verb("cpupool-list", "", "[-c|--cpus] [<CPU Pool>]", "List CPU pools on host"),
    Verb("cpupool-destroy", "f", "<CPU Pool>", "Deactivates a CPU pool"),
    Verb("cpupool-rename", "f", "<CPU Pool> <new name>", "Renames a CPU pool"),
    Verb("cpupool-cpu-add", "f", "<CPU Pool> <CPU nr>|node:<node nr>", "Adds a CPU to a CPU pool"),
    Verb(
        "cpupool-cpu-remove",
        "f",
        "<CPU Pool> <CPU nr>|node:<node nr>",
        "Removes a CPU from a CPU pool",
    ),
    Verb("cpupool-migrate", "f", "<Domain> <CPU Pool>", "Moves a domain into a CPU pool"),
    Verb("cpupool-numa-split", "f", "", "Splits up the machine into one CPU pool per NUMA node"),
    Verb(
        "getenforce", "", "", "Returns the current enforcing mode of the Flask Xen security module"
    ),
    Verb(
        "setenforce",
        "f",
        "<1|0|Enforcing|Permissive>",
        "Sets the current enforcing mode of the Flask Xen security module",
    ),
    Verb(
        "loadpolicy", "f", "<policy file>", "Loads a new policy into the Flask Xen security module"
    ),
    Verb("remus", "f", "[options] <Domain> [<host>]", "Enable Remus HA for domain"),
    Verb("devd", "f", "[options]", "Daemon that listens for devices and launches backends"),
    Verb("psr-hwinfo", "f", "[options]", "Show hardware information for Platform Shared Resource"),
    Verb(
        "psr-cmt-attach", "f", "<Domain>", "Attach Cache Monitoring Technology service to a domain"
    ),
    Verb(
        "psr-cmt-detach",
        "f",
        "<Domain>",
        "Detach Cache Monitoring Technology service from a domain",
    ),
    Verb(
        "psr-cmt-show",
        "f",
        "<PSR-CMT-Type> <Domain>",
        "Show Cache Monitoring Technology information",
    ),
    Verb(
        "psr-cat-set",
        "f",
        "[options] <Domain> <CBM>",
        "Set cache capacity bitmasks(CBM) for a domain",
    ),
    Verb("psr-cat-show", "f", "[options] <Domain>", "Show Cache Allocation Technology information"),
    Verb(
        "psr-mba-set",
        "f",
        "[options] <Domain> <THRTL>",
        "Set throttling value (THRTL) for a domain",
    ),
    Verb("psr-mba-show", "f", "<Domain>", "Show Memory Bandwidth Allocation information"),
    Verb(
        "usbctrl-attach",
        "f",
        "<Domain> [type=pv] [version=<version>] [ports=<number>]",
        "Create a virtual USB controller for a domain",
    ),
    Verb(
        "usbctrl-detach",
        "f",
        "<Domain> <DevId>",
        "Remove the virtual USB controller specified by <DevId> for a domain",
    ),
    Verb(
        "usbdev-attach",
        "f",
        "<Domain> hostbus=<busnum> hostaddr=<devnum> [controller=<DevId> [port=<port>]]",
        "Attach a USB device to a domain",
    ),
    Verb("usbdev-detach", "f", "<Domain> <controller> <port>", "Detach a USB device from a domain"),
    Verb(
        "usb-list",
        "",
        "<Domain>",
        "List information about all USB controllers and devices for a domain",
    ),
    Verb(
        "qemu-monitor-command",
        "f",
        "<Domain> <Command>",
        "Issue a qemu monitor command to the device model of a domain",
    ),
)
VERBS: Final = {verb.name: verb for verb in _ROWS}


def find(word: str) -> Verb | None:
    """The verb that *word* names, in full or by an unambiguous beginning."""
    if word in VERBS:
        return VERBS[word]
    found = [verb for name, verb in VERBS.items() if word and name.startswith(word)]
    return found[0] if len(found) == 1 else None
