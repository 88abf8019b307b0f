"""The same values, and more, printed here and now by a C program compiled against libxen-dev."""

import json
import subprocess

import pytest

from hvsim.abi import errno, grant_table, hypercall, vcpu
from tests.abi.facts import LAYOUTS, MODULES, Value, constant, our_value
from tests.abi.test_reference import USED
from tests.support import optional

pytestmark = pytest.mark.interop

PREFIXES = (
    "BLKIF_", "CONSOLEIO_", "DOMID_", "EVTCHN", "GNTCOPY_", "GNTMAP_", "GNTST_", "GNTTAB", "GTF_",
    "GNTALLOC_FLAG", "HYPERVISOR_", "IOCTL_", "NETIF_", "NETRXF_", "NETTXF_",
    "NR_VIRQS", "RUNSTATE_", "SCHEDOP_", "SHUTDOWN_",
    "UNMAP_NOTIFY_", "VCPUOP_", "VDISK_", "VIRQ_", "XENMEM_", "XENSTORE_", "XENVER_", "XEN_",
    "XS_",
)  # fmt: skip
# Ours alone, and no name of the header.
OURS_ALONE = frozenset({"HYPERVISOR_hvsim_op"})

PREAMBLE = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <sys/ioctl.h>
#define __XEN_TOOLS__ 1
#include <xen/xen.h>
#include <xen/version.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/vcpu.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/domctl.h>
#include <xen/sysctl.h>
#include <xen/hypfs.h>
#include <xen/io/ring.h>
#include <xen/io/blkif.h>
#include <xen/io/netif.h>
#include <xen/io/console.h>
#include <xen/io/xenbus.h>
#include <xen/io/protocols.h>
#include <xen/io/xs_wire.h>
#include <xen/sys/evtchn.h>
#include <xen/sys/gntdev.h>
#include <xen/sys/gntalloc.h>
#include <xen/sys/privcmd.h>
static void number(const char *key, long long value) { printf("[\\"%s\\", %lld]\\n", key, value); }
static void text(const char *key, const char *value)
{ printf("[\\"%s\\", \\"%s\\"]\\n", key, value); }
int main(void)
{
"""

RINGS_OF_A_PAGE = {
    "NET_TX_RING_SIZE": "netif_tx",
    "NET_RX_RING_SIZE": "netif_rx",
    "NET_CTRL_RING_SIZE": "xen_netif_ctrl",
}
RING_SIZE = "__CONST_RING_SIZE(blkif, {} * 4096)"


def _constants() -> list[str]:
    """Every constant of ours that the headers have under the same name."""
    names = {
        name
        for module in MODULES
        for name, value in vars(module).items()
        if name.startswith(PREFIXES) and isinstance(value, int | str)
    }
    return sorted(names - OURS_ALONE)


def _expression(key: str) -> str | None:
    """A key of the reference as a C expression; None where it is prose or not in these headers."""
    if key.startswith("BLK_RING_SIZE("):
        return RING_SIZE.format(key.removeprefix("BLK_RING_SIZE(").split()[0])
    if ring := RINGS_OF_A_PAGE.get(key):
        return f"__CONST_RING_SIZE({ring}, 4096)"
    if key == "grant entries v1 per page":
        return "4096 / sizeof(grant_entry_v1_t)"
    return key


def _program(keys: list[str]) -> str:
    lines = [PREAMBLE]
    for key in keys:
        kind = "text" if isinstance(_ours(key), str) else "number"
        lines.append(f'    {kind}("{key}", {_expression(key)});')
    # EINTR and ERESTART are internal to the hypervisor and hidden from anyone else.
    lines.append("#define __XEN__ 1")
    lines.append("#define XEN_ERRNO(name, value) number(#name, value);")
    lines.append("#include <xen/errno.h>")
    lines.append("    for (unsigned i = 0; i < sizeof(xsd_errors) / sizeof(*xsd_errors); i++)")
    lines.append("        number(xsd_errors[i].errstring, xsd_errors[i].errnum);")
    lines.append("    static const char *const messages[] = GNTTABOP_error_msgs;")
    lines.append("    for (unsigned i = 0; i < sizeof(messages) / sizeof(*messages); i++)")
    lines.append('    { char key[32]; snprintf(key, sizeof key, "message %u", i);')
    lines.append("      text(key, messages[i]); }")
    lines.append("    return 0;\n}\n")
    return "\n".join(lines)


def _ours(key: str) -> Value | None:
    if key.startswith("message "):
        return grant_table.GNTTABOP_error_msgs[int(key.removeprefix("message "))]
    section = "xenstore_errors" if key in SECTIONS.get("xenstore_errors", ()) else ""
    return our_value(section, key)


SECTIONS: dict[str, set[str]] = {}
for _section, _key in USED:
    SECTIONS.setdefault(_section, set()).add(_key)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Value]:
    """What the C program says, by key."""
    optional.header("xen/xen.h")
    compiler = optional.compiler()
    folder = tmp_path_factory.mktemp("headers")
    reference = [key for section, key in USED if section != "xenstore_errors"]
    renamed = [f"__{n}" if n.startswith("HYPERVISOR_") else n for n in _constants()]
    keys = list(dict.fromkeys([*reference, *renamed]))
    (folder / "print.c").write_text(_program(keys))
    program = folder / "print"
    subprocess.run(
        [compiler, "-w", "-o", program, folder / "print.c"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return dict(json.loads(line) for line in output.splitlines())


def _signed(value: Value | None) -> Value | None:
    """A number as it is printed: its highest bit is a sign there."""
    return value - (1 << 64) if isinstance(value, int) and 1 << 63 <= value < 1 << 64 else value


def test_every_value_equals_the_header(printed: dict[str, Value]) -> None:
    differences = {
        key: (value, _ours(key)) for key, value in printed.items() if _signed(_ours(key)) != value
    }
    assert differences == {}


def test_everything_that_we_define_was_compared(printed: dict[str, Value]) -> None:
    missing = [n for n in _constants() if n not in printed and f"__{n}" not in printed]
    assert missing == []
    assert set(errno.NAMES.values()) <= set(printed)
    assert {f"message {i}" for i in range(len(grant_table.GNTTABOP_error_msgs))} <= set(printed)


def test_a_wrong_value_would_be_seen(
    printed: dict[str, Value], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grant_table, "GNTST_bad_page", -8)
    monkeypatch.setattr(hypercall, "HYPERVISOR_domctl", 35)
    monkeypatch.setitem(LAYOUTS, vcpu.VCPU_RUNSTATE_INFO.name, vcpu.SET_SINGLESHOT_TIMER)
    differing = {key for key, value in printed.items() if _ours(key) != value}
    assert {"GNTST_bad_page", "__HYPERVISOR_domctl", "sizeof(struct vcpu_runstate_info)"} <= (
        differing
    )
    assert constant("GNTST_bad_page") == -8
