"""Grant table, event channels, memory, heap: the hypervisor's rules."""

# ruff: noqa: E501 - texts stand here as they stand in their files

from typing import Final

from tests.mutants.fault import Fault, faults

_ROOM = "hvsim/hypervisor"
_TESTS = "tests/hypervisor"
_SHARING = (
    f"{_TESTS}/test_memory_rules.py",
    f"{_TESTS}/test_bounds_of_maps.py",
    f"{_TESTS}/test_sharing.py",
    f"{_TESTS}/test_rules.py",
)
_EVENTS = (
    f"{_TESTS}/test_ports.py",
    f"{_TESTS}/test_events.py",
    f"{_TESTS}/test_calls.py",
    f"{_TESTS}/test_rules.py",
)


FAULTS: Final[list[Fault]] = [
    *faults(
        f"{_ROOM}/grants.py",
        _SHARING,
        ("a read-only entry may be mapped for writing", "if write and readonly:", "if False:"),
        (
            "an entry may be mapped by whoever asks",
            "!= GTF_permit_access or domid != peer:",
            "!= GTF_permit_access:",
        ),
        (
            "an entry that permits nothing may be mapped",
            "if flags & GTF_type_mask != GTF_permit_access or domid != peer:",
            "if domid != peer:",
        ),
        (
            "a map does not show in the shared flags",
            "self._halves[ref * 4] |= GTF_reading if readonly else _IN_USE",
            "pass",
        ),
        (
            "a writer is shown as a reader",
            "|= GTF_reading if readonly else _IN_USE",
            "|= GTF_reading",
        ),
        ("an extent is not pinned", "active.extent.pins += 1", "pass"),
        (
            "the first unmap takes the account away",
            "if not active.pins:\n            del",
            "if True:\n            del",
        ),
        (
            "the last unmap leaves the entry in use",
            "flags &= ~GTF_reading",
            "flags &= ~0",
        ),
        (
            "an owner that takes an entry back is told that nobody maps it",
            "        return active.pins\n\n    def revoke",
            "        return 0\n\n    def revoke",
        ),
        (
            "the permission outlives its end",
            "self._halves[ref * 4] = _IN_USE if active.writers else GTF_reading",
            "pass",
        ),
        ("handles are not bounded", "return len(self.mappings) >= self._limit", "return False"),
        (
            "a reference beyond the table is looked up",
            'if self.memory is None or not 0 <= ref < MAX_ENTRIES_V1:\n            raise GrantRefused(GNTST_bad_gntref, f"bad ref {ref:#x}")\n        flags',
            'if self.memory is None or not 0 <= ref < MAX_ENTRIES_V1 + 1:\n            raise GrantRefused(GNTST_bad_gntref, f"bad ref {ref:#x}")\n        flags',
        ),
        (
            "entries of a gone process stay open",
            "if entry & GTF_type_mask and orphaned(entry >> 32):",
            "if False:",
        ),
    ),
    *faults(
        f"{_ROOM}/transfer.py",
        _SHARING,
        (
            "an entry may change while it is mapped",
            "elif active.peer != process.domid or active.readonly != entry_readonly:",
            "elif active.peer != process.domid:",
        ),
        (
            "flags of a map are not looked at",
            "| GNTMAP_host_map) or flags & ~_ALLOWED_FLAGS:",
            "| GNTMAP_host_map):",
        ),
        ("descriptors of one call are not bounded", "if len(new) >= MAX_DESCRIPTORS:", "if False:"),
        (
            "plain RAM is shared",
            "if extent is None or not extent.grantable or extent.orphan:",
            "if extent is None or extent.orphan:",
        ),
    ),
    *faults(
        f"{_ROOM}/events.py",
        _EVENTS,
        ("any domain may bind a port", "or peer.remote != self.domid:", "or False:"),
        (
            "a bound port may be bound again",
            "or peer.state != EVTCHNSTAT_unbound or",
            "or",
        ),
        (
            "a fresh binding is not rung",
            "        port.ring()\n        return port\n\n    def bind_virq",
            "        return port\n\n    def bind_virq",
        ),
        ("a virtual interrupt is bound twice", "if virq in self._virqs:", "if False:"),
        (
            "an interrupt of no number is bound",
            "if not 0 <= virq < NR_VIRQS or vcpu != 0:",
            "if not 0 <= virq <= NR_VIRQS or vcpu != 0:",
        ),
        ("an interrupt goes to a vCPU that is none", "or vcpu != 0:", "or False:"),
        ("ports are not bounded", "if len(self.ports) >= self._limit:", "if False:"),
        (
            "the highest free port is taken",
            "number = heapq.heappop(self._freed)",
            "number = self._freed.pop()",
        ),
        ("the other end stays bound", "peer.state = EVTCHNSTAT_unbound", "pass"),
        (
            "a masked port rings",
            "        if self.masked:\n            self.pending = True\n        elif",
            "        if",
        ),
        (
            "a ring while masked is lost",
            "        if port.pending:\n            port.pending = False\n            port.ring()",
            "        port.pending = False",
        ),
        ("a closed interrupt may not be bound again", "del self._virqs[port.virq]", "pass"),
        (
            "an unbound wire keeps its number's name",
            "            self._names.drop(port.remote)\n        heapq",
            "            pass\n        heapq",
        ),
    ),
    *faults(
        f"{_ROOM}/p2m.py",
        ("tests/hypervisor/test_p2m.py",),
        (
            "a frame beyond its run has a machine frame",
            "return run if gfn < run[0] + run[2] else None",
            "return run",
        ),
        (
            "what is behind a hole is forgotten",
            "kept.append((at, right[1] + at - right[0], right[0] + right[2] - at))",
            "pass",
        ),
    ),
    *faults(
        f"{_ROOM}/memory.py",
        _SHARING,
        (
            "an extent that is leaving is shared",
            "return None if extent is None or extent.leaving else extent",
            "return extent",
        ),
        (
            "a mapped extent is given up",
            "        if extent.pins:\n            raise XenError(EBUSY)\n",
            "",
        ),
        (
            "extents are not bounded",
            "if len(self.extents) + len(self.leaving) >= MAX_EXTENTS:",
            "if False:",
        ),
        (
            "frames of an extent are lost",
            "self.ram.add(extent.base_gfn, extent.nr_pages)\n        self._views",
            "self._views",
        ),
    ),
    *faults(
        f"{_ROOM}/heap.py",
        (f"{_TESTS}/test_heap.py",),
        (
            "runs are joined to the wrong one",
            "if before is not None and before + self._lengths[before] == first:",
            "if before is not None and before + self._lengths[before] <= first:",
        ),
        (
            "a run that is in is added",
            "if before is not None and before + self._lengths[before] > first:",
            "if False:",
        ),
        ("what is behind a removed part is lost", "        if rest:\n", "        if False:\n"),
        (
            "more than is free is claimed",
            "if count > self.free - self.claimed:",
            "if count > self.free:",
        ),
        (
            "frames come back clean",
            "self._dirty[node].add(first, part)",
            "self._clean[node].add(first, part)",
        ),
        ("free frames come back", "if self._clean[node].meets(first, part):", "if False:"),
    ),
    *faults(
        f"{_ROOM}/mediation.py",
        (f"{_TESTS}/test_mediation.py",),
        (
            "what is lost comes",
            "if self.drop and dice() < self.drop:",
            "if self.drop and dice() > self.drop:",
        ),
        (
            "nothing comes twice",
            "twice=bool(self.duplicate) and dice() < self.duplicate,",
            "twice=False,",
        ),
        ("a delay is in milliseconds", "* dice()) * _SECOND)", "* dice()) * 1000)"),
        ("a share above 1 is taken", "0.0 <= value <= most", "0.0 <= value"),
    ),
]
