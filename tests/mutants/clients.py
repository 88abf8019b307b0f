"""Whoever speaks with the store: transactions, lists, messages, /dev/xen/xenbus."""

from typing import Final

from tests.mutants.fault import Fault, faults

_ROOM = "hvsim/xs"
_TRANSACTION = ("tests/xs/test_transaction.py",)

FAULTS: Final[list[Fault]] = [
    *faults(
        f"{_ROOM}/transaction.py",
        _TRANSACTION,
        (
            "what was committed is aborted",
            "        self._abort = None\n\n    def __enter__",
            "        pass\n\n    def __enter__",
        ),
        (
            "any refusal begins anew",
            "return isinstance(error, StoreError) and error.errno == xen_errno.EAGAIN",
            "return isinstance(error, StoreError)",
        ),
        (
            "a conflict ends it",
            "return isinstance(error, StoreError) and error",
            "return False and error",
        ),
        (
            "a store that has gone is asked to abort",
            "if error is None or isinstance(error, StoreDisconnected):",
            "if error is None:",
        ),
        ("what failed is left open", "            self._abort()\n", "            pass\n"),
        (
            "an attempt more",
            "for number in range(MAX_ATTEMPTS))",
            "for number in range(MAX_ATTEMPTS + 1))",
        ),
    ),
    *faults(
        f"{_ROOM}/listing.py",
        _TRANSACTION,
        (
            "a list that has changed goes on",
            "if self._generation and generation != self._generation:",
            "if False:",
        ),
        ("a list is fetched for ever", "if self._attempts > MAX_ATTEMPTS:", "if False:"),
        ("what leads nowhere goes on", "        if not names:\n", "        if False:\n"),
        (
            "the old part of a changed list stays",
            'self._generation, self._names = "", b""\n            self._attempts',
            'self._generation = ""\n            self._attempts',
        ),
    ),
    *faults(
        f"{_ROOM}/wire.py",
        ("tests/xs/test_wire.py",),
        ("a message of any length", "        if length > _PAYLOAD_MAX:\n", "        if False:\n"),
        ("half a message is one", "        if len(data) < stop:\n            return None\n", ""),
        (
            "an answer is whose turn it is",
            "elif waiting and waiting[0][0] == req_id:",
            "elif waiting:",
        ),
        ("a request of any length", "if len(request.payload) > _PAYLOAD_MAX:", "if False:"),
        (
            "what was left is forgotten",
            "self._data[self._position :] + data if self.more else data",
            "data",
        ),
        ("behind a message is nothing", "self.more = stop < len(data)", "self.more = False"),
        (
            "what was taken is left as well",
            'self._data[self._position :] if self.more else b""',
            'self._data if self.more else b""',
        ),
    ),
    *faults(
        f"{_ROOM}/requests.py",
        ("tests/xs/test_requests.py",),
        ("a NUL makes two arguments of one", 'if b"\\0" in data:', "if False:"),
        (
            "a conflict is a node that is missing",
            "if result.errno == xen_errno.EAGAIN:",
            "if False:",
        ),
        ("an answer to something else counts", "if type != xs_wire.XS_ERROR:", "if False:"),
        ("the end of a list is a name", "names[:-1] if last else names", "names"),
        (
            "each part of a list is its last",
            'last = names == b"\\0" or names.endswith(b"\\0\\0")',
            "last = True",
        ),
        ("a value ends with a NUL", "+ encode(value)\n", '+ encode(value) + b"\\0"\n'),
        ("a commit gives up", 'payload = b"T\\0" if commit else b"F\\0"', 'payload = b"F\\0"'),
    ),
    *faults(
        "hvsim/devnodes/dialogue.py",
        ("tests/devnodes/test_dialogue.py",),
        ("a header claims more than there may be", "if HEADER + header.len > BUFFER:", "if False:"),
        (
            "a request fills more than the buffer",
            "if size > BUFFER - len(self._partial):",
            "if False:",
        ),
        (
            "what was refused is the beginning of the next",
            "            self._partial.clear()\n            raise OSError(errno.EINVAL",
            "            raise OSError(errno.EINVAL",
        ),
        (
            "another file's transaction is one's own",
            "return tx != 0 and tx not in self._transactions and tx not in self._lost",
            "return False",
        ),
        ("a transaction ends anyhow", 'elif body not in (b"T\\0", b"F\\0"):', "elif False:"),
        (
            "what a dead store had is committed",
            '            if body == b"T\\0":\n                self._reply',
            "            if False:\n                self._reply",
        ),
        ("watches are not bounded", "if len(self._watches) >= MAX_WATCHES:", "if False:"),
        (
            "an answer to nothing is taken",
            '            raise ValueError(f"an answer to request {number}, which is none")\n',
            "            return\n",
        ),
        (
            "a watch that was refused stays",
            "            self._watches.pop(asked.watch, None)\n            name",
            "            name",
        ),
        (
            "what a dead store was asked is never answered",
            '                self._reply(one.header, xs_wire.XS_ERROR, b"EIO\\0")\n',
            "                pass\n",
        ),
        ("a transaction outlives its store", "        self._lost |= self._transactions\n", ""),
        (
            "a program hears of what it did not ask",
            "        if asked.silent:\n            return\n",
            "",
        ),
        ("half an answer of a dead store counts", "        self._answers.clear()\n", ""),
        ("a watch needs no token", "        if not end or not more:\n", "        if not end:\n"),
    ),
]
