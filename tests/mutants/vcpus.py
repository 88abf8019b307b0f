"""Run states, time pages and affinities of vCPUs; watchdogs, limits of a rate."""

# ruff: noqa: E501 - texts stand here as they stand in their files

from typing import Final

from tests.mutants.fault import Fault, faults

_ROOM = "hvsim/hypervisor"
_TESTS = "tests/hypervisor"
_CALLS = (f"{_TESTS}/test_tool_calls.py",)

FAULTS: Final[list[Fault]] = [
    *faults(
        f"{_ROOM}/vcpu.py",
        (f"{_TESTS}/test_vcpu.py",),
        (
            "what is blocked runs",
            "RUNSTATE_blocked: (RUNSTATE_runnable, RUNSTATE_offline)",
            "RUNSTATE_blocked: (RUNSTATE_runnable, RUNSTATE_running, RUNSTATE_offline)",
        ),
        (
            "time that has passed is the next state's",
            "self._spent[self.state] += now - self._counted_at",
            "self._spent[state] += now - self._counted_at",
        ),
        (
            "a scheduler's clock goes back",
            "        if now < self._counted_at:\n",
            "        if False:\n",
        ),
        (
            "what runs has a deadline",
            "if deadline is not None and state != RUNSTATE_blocked:",
            "if False:",
        ),
        ("what does not fit is lost", "self._ran += running", "self._ran = max(self._ran, ran)"),
        (
            "waiting counts twice",
            "runnable = min(left - running, max(",
            "runnable = min(left, max(",
        ),
        (
            "who was offline was blocked",
            "rest = RUNSTATE_offline if self.state == RUNSTATE_offline else RUNSTATE_blocked",
            "rest = RUNSTATE_blocked",
        ),
        ("a deadline is over one later", "self.deadline <= now", "self.deadline < now"),
        (
            "each look is an entry",
            "        if state != self.state:\n            self.state, self.entered",
            "        if True:\n            self.state, self.entered",
        ),
        (
            "a record is as old as the last look",
            "        spent[self.state] += max(0, now - self._counted_at)\n",
            "",
        ),
        (
            "no run state is one",
            '        if state not in _STATES:\n            raise ValueError(f"no run state {state}")\n',
            "",
        ),
    ),
    *faults(
        f"{_ROOM}/vcpu_page.py",
        (f"{_TESTS}/test_vcpu_page.py",),
        (
            "what has no end has one",
            "return True, None if word == NEVER else word",
            "return True, word",
        ),
        ("a domain writes its time", "self.time.seal(True)", "self.time.seal(False)"),
        (
            "run states are written unseen",
            "self._longs[_STATE_ENTRY] = entry | XEN_RUNSTATE_UPDATE",
            "pass",
        ),
        (
            "a clock that stands still goes",
            "info = (0, tsc, system, mul,",
            "info = (0, tsc, system, TSC_MUL,",
        ),
        (
            "half of a pair of pages stays",
            "            self.time.close()\n            raise",
            "            raise",
        ),
    ),
    *faults(
        f"{_ROOM}/affinity.py",
        (f"{_TESTS}/test_affinity.py",),
        ("a mask of no CPU is set", "if mask is not None and not mask & self._all:", "if False:"),
        (
            "a mask is wider than the machine",
            "self.hard[vcpu] = hard & self._all",
            "self.hard[vcpu] = hard",
        ),
        ("soft goes beyond hard", "self.soft[vcpu] & self.hard[vcpu]", "self.soft[vcpu]"),
        (
            "nothing is set",
            "if not 0 <= vcpu < len(self.hard) or (hard is None and soft is None):",
            "if not 0 <= vcpu < len(self.hard):",
        ),
        ("a lab's CPU is one of ours", "if n % count in cpus}", "if n in cpus}"),
        (
            "a CPU that we lack is nowhere",
            "    found |= {ours[cpu % len(ours)] for cpu in cpus}\n",
            "",
        ),
    ),
    *faults(
        f"{_ROOM}/watchdogs.py",
        _CALLS,
        (
            "a third watchdog",
            "range(1, PER_DOMAIN + 1) if (domid, n)",
            "range(1, PER_DOMAIN + 2) if (domid, n)",
        ),
        (
            "a timer that nobody has is set",
            "        if (domid, number) not in self._deadlines:\n",
            "        if False:\n",
        ),
        (
            "a timer cannot be given back",
            "            del self._deadlines[domid, number]\n",
            "            pass\n",
        ),
    ),
    *faults(
        f"{_ROOM}/ratelimit.py",
        (f"{_TESTS}/test_rules.py",),
        ("a burst has no end", "        self._tokens -= 1.0\n", ""),
        ("what is refused is not counted", "            self.suppressed += 1\n", ""),
    ),
]
