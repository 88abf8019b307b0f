"""Indices of rings, states of split devices, restarts, messages of a stream."""

# ruff: noqa: E501 - texts stand here as they stand in their files

from typing import Final

from tests.mutants.fault import Fault, faults

_DOMAIN = "hvsim/domain"
_RING = ("tests/domain/test_ring.py", "tests/domain/test_ring_hammer.py")
_STATE = ("tests/domain/test_xenbus_state.py", "tests/xenstore/test_handshake.py")
_RESTARTS = ("tests/domain/test_restarts.py",)

FAULTS: Final[list[Fault]] = [
    *faults(
        f"{_DOMAIN}/ring.py",
        _RING,
        (
            "a frontend overruns its ring",
            "if (self._prod - self._cons) & INDEX_MASK >= self._size:",
            "if (self._prod - self._cons) & INDEX_MASK > self._size:",
        ),
        (
            "a bell is left out",
            "& INDEX_MASK < (fresh - old) & INDEX_MASK",
            "& INDEX_MASK < (fresh - old - 1) & INDEX_MASK",
        ),
        (
            "a bell is rung each time",
            "return (fresh - self._index[event]) & INDEX_MASK < (fresh - old) & INDEX_MASK",
            "return True",
        ),
        (
            "the index does not wrap",
            "        self._prod = (self._prod + 1) & INDEX_MASK\n",
            "        self._prod = self._prod + 1\n",
        ),
        (
            "slots are one apart",
            "at = (self._cons & self._mask) * self._slot_size",
            "at = (self._cons & self._mask) * size",
        ),
        (
            "more answers than requests are taken",
            "if ahead > (self._published - self._cons) & INDEX_MASK:",
            "if False:",
        ),
        ("requests beyond the ring are taken", "if beyond > self._size or beyond <", "if beyond <"),
        (
            "an index may go back",
            "if beyond > self._size or beyond < ((self._cons - self._prod) & INDEX_MASK):",
            "if beyond > self._size:",
        ),
        (
            "what nobody asked is answered",
            '        if self._prod == self._cons:\n            raise RingFull("no request is left to be answered")\n',
            "",
        ),
        (
            "the last look is left out",
            "        self._index[_REQ_EVENT] = (self._cons + 1) & INDEX_MASK\n        self._fence()\n        return self._ahead() > 0",
            "        self._index[_REQ_EVENT] = (self._cons + 1) & INDEX_MASK\n        return False",
        ),
        (
            "a frontend does not ask to be woken",
            "        self._index[_RSP_EVENT] = (self._cons + 1) & INDEX_MASK\n",
            "",
        ),
    ),
    *faults(
        f"{_DOMAIN}/xenbus/state.py",
        _STATE,
        (
            "a frontend that is Connected publishes again",
            "return FrontendReaction.PUBLISH if own == Initialising else FrontendReaction.NOTHING",
            "return FrontendReaction.PUBLISH",
        ),
        (
            "a frontend answers each Closed",
            "return FrontendReaction.NOTHING if own == Closed else FrontendReaction.CLOSE",
            "return FrontendReaction.CLOSE",
        ),
        (
            "a missed InitWait is waited for",
            "            return FrontendReaction.PUBLISH_AND_CONNECT\n",
            "            return FrontendReaction.NOTHING\n",
        ),
        (
            "a closed backend does not open again",
            "return BackendReaction.REOPEN if own == Closed else BackendReaction.NOTHING",
            "return BackendReaction.NOTHING",
        ),
        (
            "a backend connects twice",
            "        if own in (Connected, Closing, Closed):\n            return BackendReaction.NOTHING\n",
            "",
        ),
        (
            "a device that is to stay goes",
            "return BackendReaction.CLOSE if online else",
            "return BackendReaction.CLOSE if not online else",
        ),
        (
            "a closed frontend connects",
            'Closed: frozenset({Initialising, Initialised}),\n}\n"""Legal moves of a frontend',
            'Closed: frozenset({Initialising, Initialised, Connected}),\n}\n"""Legal moves of a frontend',
        ),
        ("nine is a state", "number = unsigned(text, Reconfigured)", "number = unsigned(text)"),
    ),
    *faults(
        f"{_DOMAIN}/restarts.py",
        _RESTARTS,
        (
            "nothing is ever given up",
            "            if recent >= LIMIT:\n                return None\n",
            "",
        ),
        ("one death more", "if recent >= LIMIT:", "if recent > LIMIT:"),
        (
            "a death that was asked for counts",
            "        if not struck:\n            self._deaths.append(now)",
            "        if True:\n            self._deaths.append(now)",
        ),
        ("each wait is as long as the first", "self._first * 2 ** (recent - 2)", "self._first"),
        (
            "waits have no end",
            "min(self._most, self._first * 2 ** (recent - 2))",
            "self._first * 2 ** (recent - 2)",
        ),
        (
            "a death is never forgotten",
            "sum(now - death < WINDOW for death in self._deaths)",
            "len(self._deaths)",
        ),
        (
            "a new process forgets the deaths",
            "self._deaths.extend(float(d) for d in deaths if isinstance(d, int | float))",
            "pass",
        ),
    ),
    *faults(
        "hvsim/wire/frames.py",
        ("tests/wire/test_frames.py",),
        (
            "a message may be of any size",
            "return self._limit is None or size <= self._limit",
            "return True",
        ),
        ("a message of the limit is refused", "size <= self._limit", "size < self._limit"),
        ("half a message is one", "        if len(data) < end:\n            return None\n", ""),
        ("a message stays in the stream", "        del data[:end]\n", ""),
    ),
    *faults(
        f"{_DOMAIN}/byte_ring.py",
        ("tests/xenstore/test_ring.py", "tests/domain/test_console.py"),
        (
            "what wraps is not read",
            "return data + bytes(page[at : at + count - first]) if count > first else data",
            "return data",
        ),
        (
            "what wraps is not written",
            "page[at : at + len(data) - first] = data[first:]",
            "pass",
        ),
        (
            "what wraps goes on behind the ring",
            "start = index & (size - 1)\n    first = min(len(data), size - start)",
            "start = index & (size - 1)\n    first = len(data)",
        ),
    ),
    *faults(
        f"{_DOMAIN}/waiting.py",
        ("tests/domain/test_waiting.py",),
        ("the page is not told until when", "        word[0] = until\n", ""),
        (
            "the page says for ever that it waits",
            "        finally:\n            word[0] = RUNNING\n",
            "        finally:\n            pass\n",
        ),
    ),
]
