"""Lockstep: who may go on, who picks, the time that is moved, and how one waits for it."""

from typing import Final

from tests.mutants.fault import Fault, faults

_ROOM = "hvsim/hypervisor/lockstep"
_TESTS = "tests/hypervisor/lockstep"

FAULTS: Final[list[Fault]] = [
    *faults(
        f"{_ROOM}/turns.py",
        (f"{_TESTS}/test_turns.py",),
        ("options are in the order of the tokens", "(seat.since, token,", "(0, token,"),
        (
            "who is stopped gets a turn",
            "            if not seat.halted():\n                able",
            "            if True:\n                able",
        ),
        ("who is stopped is waited for", "!= NEVER and not seat.halted()", "!= NEVER"),
        ("a late answer is none to go on for", " or seat.late)", ")"),
        ("late answers come at once", "seat.late.append(send)", "send()"),
        (
            "late answers come behind the word",
            "        for send in late:\n            send()\n"
            '        assert answer is not None, "who is able waits for it"\n        answer()\n',
            '        assert answer is not None, "who is able waits for it"\n        answer()\n'
            "        for send in late:\n            send()\n",
        ),
        ("a late answer comes again", "late, seat.late = seat.late, []", "late = seat.late"),
        ("a deadline is missed by one", "seat.until <= now", "seat.until < now"),
        ("a seat outlives its process", "self._seats.pop(token, None)\n", "pass\n"),
        (
            "the turn outlives its process",
            "        if self.turn == token:\n            self.turn = None\n\n    # -- what may",
            "\n    # -- what may",
        ),
        (
            "a bell that was heard stays",
            "            del self._bells[option.name]\n",
            "            pass\n",
        ),
        ("who has parked waits for a call", "and self._seats[token].state == _RUNS", ""),
        (
            "nobody is told who begins",
            "        self._begins(token)\n",
            "",
        ),
        (
            "who waits for an answer gets a turn without it",
            "elif seat.state != _CALLS or seat.answer is None:",
            "elif token not in ready:",
        ),
    ),
    *faults(
        f"{_ROOM}/choices.py",
        (f"{_TESTS}/test_choices.py",),
        ("priorities never change", "if number in self._changes or ", "if "),
        ("somebody is passed over for ever", " or self._patience_ends(options):", ":"),
        (
            "who was the highest is not the lowest",
            "self._lowest -= 1.0",
            "self._lowest = 0.95",
        ),
        (
            "a tape picks what is no option",
            "min(self._choices.get(number, 0), len(options) - 1)",
            "self._choices.get(number, 0)",
        ),
        ("zeros are on the tape", "        if picked:\n", "        if True:\n"),
        ("where there is one option there is a choice", "len(options) == 1", "not options"),
        ("no seed", 'Anyone(dice(f"lockstep/{seed}"))', 'Anyone(dice("lockstep"))'),
        ("a part of the tape is the whole", "min(start + count, self.made)", "self.made"),
    ),
    *faults(
        f"{_ROOM}/clock.py",
        (f"{_TESTS}/test_clock.py",),
        ("time goes back", "max(self._now, to)", "to"),
        (
            "time goes by itself",
            "self._now if self._let_go is None",
            "self._now + clock.now() if self._let_go is None",
        ),
    ),
    *faults(
        "hvsim/hypervisor/domain_time.py",
        ("tests/hypervisor/test_domain_time.py",),
        (
            "a deadline is rounded down",
            "self._tsc - (-(system - self._system) * TSC_MUL // self._mul)",
            "self._tsc + (system - self._system) * TSC_MUL // self._mul",
        ),
        ("a drift is forgotten", "* TSC_MUL // self._mul", "* TSC_MUL // TSC_MUL"),
        ("a jump is forgotten", "return self._tsc - (", "return 0 - ("),
    ),
    *faults(
        "hvsim/domain/waiting.py",
        ("tests/domain/test_waiting_in_turns.py",),
        ("looks never end a turn", "looks < LOOKS", "True"),
        ("who finds something has looked", "looks = 0 if ready or timeout else", "looks ="),
        ("a park has no deadline", "park(until if timeout else 0)", "park(-1)"),
        (
            "it does not look again",
            "        park(until if timeout else 0)\n        return look(0.0, RUNNING)",
            "        park(until if timeout else 0)\n        return ready",
        ),
    ),
    *faults(
        "hvsim/lab/lockstep.py",
        ("tests/lab/test_gate_waits.py",),
        ("the rest of a nanosecond is none", "math.ceil(seconds * _SECOND)", "int(seconds * 1e9)"),
        (
            "it goes on beyond its end",
            "for time in (end, moment.due)",
            "for time in (moment.due, moment.due)",
        ),
        ("it does not look after time has gone on", "if moment.quiet:", "while moment.quiet:"),
        ("a tape is its first part", "if start == made:", "if True:"),
    ),
    *faults(
        f"{_ROOM}/server.py",
        ("tests/lab/test_lockstep.py", "tests/scenarios/test_lockstep.py"),
        (
            "who has the turn is stopped and keeps it",
            "if number in (SIGSTOP, SIGCONT) and self._turns.turn == token:",
            "if False:",
        ),
        (
            "the end of a killed process is not waited for",
            "            self._linux.end(pidfd, process.pid)\n        elif",
            "            pass\n        elif",
        ),
        (
            "notifies are heard while a process runs",
            "        self._bells.register(bell.fd, doorbell.LISTEN)\n",
            "        self._bells.register(bell.fd, doorbell.LISTEN)\n"
            "        self.loop.watch(bell.fd, doorbell.LISTEN, lambda _: rung())\n",
        ),
    ),
    *faults(
        "hvsim/lab/check/lockstep.py",
        ("tests/lab/test_check_lockstep.py",),
        ("a program of the machine takes turns", 'elif "exec" in domain.args:', "elif False:"),
        ("a bridge of Linux takes turns", "or not own_frames(server.args)", ""),
        ("dom0's bridge takes turns", "if by_dom0 or server is None or", "if server and"),
        ("a stack of Linux takes turns", "not own_frames(domain.args) or", ""),
    ),
    *faults(
        "hvsim/drivers/net/switch.py",
        ("tests/drivers/test_net_switch.py",),
        ("a switch learns nothing", "self._known[sender] = source, self._now()", "pass"),
        (
            "bridges hear each other",
            "self._bridges.setdefault(name,",
            'self._bridges.setdefault("",',
        ),
        ("who is gone is known", "self._bridge.forget(self)", "pass"),
        ("a port holds without end", "len(self._frames) < QUEUE and ", ""),
    ),
]
