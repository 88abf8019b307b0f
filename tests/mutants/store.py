"""Tree, transactions, permissions, quota, watches, journal and handshake rules of the store."""

# ruff: noqa: E501 - texts stand here as they stand in their files

from typing import Final

from tests.mutants.fault import Fault, faults

_ROOM = "hvsim/xenstore"
_TESTS = "tests/xenstore"
_PROTOCOL = (
    f"{_TESTS}/test_protocol.py",
    f"{_TESTS}/test_advisories_rights.py",
    f"{_TESTS}/test_transactions.py",
)
_TX = (
    f"{_TESTS}/test_transactions.py",
    f"{_TESTS}/test_advisories_rights.py",
    f"{_TESTS}/test_advisories_resources.py",
    f"{_TESTS}/test_model.py",
)
_QUOTA = (
    f"{_TESTS}/test_protocol.py",
    f"{_TESTS}/test_advisories_resources.py",
    f"{_TESTS}/test_model.py",
)
_WATCHES = (f"{_TESTS}/test_watches.py", f"{_TESTS}/test_journal.py", f"{_TESTS}/test_model.py")
_JOURNAL = (f"{_TESTS}/test_journal.py",)
_HANDSHAKE = (f"{_TESTS}/test_handshake.py", f"{_TESTS}/test_handshake_recorded.py")
_RIGHTS = (
    f"{_TESTS}/test_advisories_rights.py",
    f"{_TESTS}/test_protocol.py",
    f"{_TESTS}/test_model.py",
)

_EDGES = f"{_TESTS}/test_edges.py"

FAULTS: Final[list[Fault]] = [
    *faults(
        f"{_ROOM}/rules/permissions.py",
        (_EDGES, *_RIGHTS),
        (
            "an owner that has gone has its rights",
            "if not owner.ignored and (owner.domid",
            "if (owner.domid",
        ),
        (
            "a right that has gone counts",
            " and not entry.ignored:\n            return entry.bits",
            ":\n            return entry.bits",
        ),
        ("who is not named may do all", "    return owner.bits\n", "    return ALL\n"),
        (
            "a new node is its parent's owner's",
            "    return (Entry(creator, perms[0].bits), *perms[1:])",
            "    return perms",
        ),
        (
            "a new node loses the rights of others",
            "(Entry(creator, perms[0].bits), *perms[1:])",
            "(Entry(creator, perms[0].bits),)",
        ),
        (
            "a number above 65535 names a domain",
            "or len(digits) > 5 or int(digits) > _DOMID_MAX:",
            "or len(digits) > 5:",
        ),
        (
            "what a gone domain owned stays its own",
            "changed[0] = Entry(PRIVILEGED_DOMID, perms[0].bits)",
            "pass",
        ),
        (
            "a gone domain's rights wait for the next",
            "[entry._replace(ignored=True) if entry.domid == domid else entry for entry in perms]",
            "list(perms)",
        ),
    ),
    *faults(
        f"{_ROOM}/rules/quota.py",
        (_EDGES, *_QUOTA),
        (
            "one node more than the limit",
            "account.nodes + nodes > limits.nodes:",
            "account.nodes + nodes > limits.nodes + 1:",
        ),
        (
            "memory is not bounded",
            "if memory > 0 and account.memory + memory > limits.memory:",
            "if False:",
        ),
        ("dom0 has limits", "    if domid == PRIVILEGED_DOMID:\n        return False\n", ""),
        ("values count nothing", "nr_permissions + value + children", "nr_permissions + children"),
        ("a watch costs nothing", "return WATCH_COST + len(path) + len(token)", "return 0"),
        ("a limit of 0 is set", "not 1 <= value <= VALUE_MAX:", "not 0 <= value <= VALUE_MAX:"),
    ),
    *faults(
        f"{_ROOM}/rules/transaction.py",
        (_EDGES, *_TX),
        ("a node that changed is no conflict", "if nodes.get(path) is not seen:", "if False:"),
        (
            "a list that changed is no conflict",
            "if children.generation != generation:",
            "if False:",
        ),
        (
            "rights of a gone domain are committed",
            "                self.doomed = True\n                return",
            "                return",
        ),
        (
            "nodes of a transaction are not bounded",
            "if self._limit is not None and len(seen) >= self._limit:",
            "if False:",
        ),
        (
            "what was removed is still listed",
            "self._added.setdefault(above, {})[name] = False",
            "pass",
        ),
        ("what was made is not listed", "self._added.setdefault(above, {})[name] = True", "pass"),
        (
            "only the topmost is removed",
            "stack.extend([paths.join(current, name) for name in reversed(self.names(current))])",
            "pass",
        ),
        (
            "a removal is not committed",
            "            if node is None and path in tree.nodes:\n                tree.remove(path)",
            "            pass",
        ),
        (
            "a transaction does not see what it wrote",
            "        if path in new:\n            return new[path]\n",
            "",
        ),
    ),
    *faults(
        f"{_ROOM}/rules/tree.py",
        (_EDGES, *_TX),
        (
            "a removed node is still charged",
            "self._charge(self.nodes.pop(below), below, -1)",
            "self.nodes.pop(below)",
        ),
        (
            "a new name does not change the list",
            "            siblings.generation = self.generation\n            siblings.writer = self.actor\n        else",
            "            siblings.writer = self.actor\n        else",
        ),
        ("what a node was is charged as well", "            self._charge(old, path, -1)\n", ""),
        ("the size of a list does not grow", "siblings.size += len(name) + 1", "pass"),
    ),
    *faults(
        f"{_ROOM}/rules/watches.py",
        _WATCHES,
        ("watches above hear nothing", 'if not exact and path != b"/":', "if False:"),
        ("events come in any order", "found.sort(key=_serial)", "found.reverse()"),
        (
            "a relative watch hears absolute paths",
            "return path[self.prefix :] + b",
            "return path + b",
        ),
        (
            "an unwatch is not recorded",
            "self.log((UNWATCH, watch.owner.domid, watch.path, watch.token))",
            "pass",
        ),
    ),
    *faults(
        f"{_ROOM}/rules/fairness.py",
        (_EDGES, f"{_TESTS}/test_advisories_resources.py"),
        ("nobody is ever held", "return -left / self._rate", "return 0.0"),
        ("credit does not come back", "return credit + (now - then) * self._rate", "return credit"),
        (
            "credit grows without end",
            "left = min(self._burst, self._left(domid, now))",
            "left = self._left(domid, now)",
        ),
    ),
    *faults(
        f"{_ROOM}/rules/paths.py",
        (_EDGES, *_PROTOCOL),
        (
            "a path may be of any length",
            "if local is None or len(path) > limit + local.end():",
            "if False:",
        ),
        (
            "a special node is a path",
            '        if path[:1] == b"@":\n            raise Refused(EINVAL)\n',
            "",
        ),
    ),
    *faults(
        f"{_ROOM}/rules/session.py",
        (_EDGES, *_PROTOCOL),
        (
            "who may not look learns what exists",
            "if above is None or not perm.access(above.perms, domid, self.target) & needed:",
            "if above is None:",
        ),
        (
            "one right of those needed is enough",
            "self.target) & needed != needed:",
            "self.target) & needed == 0:",
        ),
    ),
    *faults(
        f"{_ROOM}/operations/change.py",
        (_EDGES, *_PROTOCOL),
        (
            "an owner gives a node away",
            "if unprivileged and perms[0].domid != node.perms[0].domid:",
            "if False:",
        ),
        (
            "rights may be changed by who may write",
            "node = existing(session, path, perm.WRITE | perm.OWNER, tx)",
            "node = existing(session, path, perm.WRITE, tx)",
        ),
        ("the root is removed", '    if path == b"/":\n        raise Refused(EINVAL)\n', ""),
        (
            "a node below none is removed",
            "            raise Refused(ENOENT)\n        return OK",
            "            pass\n        return OK",
        ),
        (
            "rights of a node are not bounded",
            "if unprivileged and len(parts) - 1 > store.limits.permissions:",
            "if False:",
        ),
    ),
    *faults(
        f"{_ROOM}/operations/transactions.py",
        (_EDGES, *_TX),
        (
            "transactions are not bounded",
            "if account.transactions >= limits.transactions:",
            "if False:",
        ),
        (
            "a transaction in a transaction",
            "    if tx is not None:\n        raise Refused(EBUSY)\n",
            "",
        ),
        ("what was given up is committed", '    if decision == b"T":\n', "    if True:\n"),
        (
            "a commit goes past the owner's quota",
            "if session.domid and tx.conflict() is None:",
            "if False:",
        ),
    ),
    *faults(
        f"{_ROOM}/journal/file.py",
        _JOURNAL,
        (
            "a torn frame counts",
            "if len(payload) != length or zlib.crc32(payload) != crc:",
            "if zlib.crc32(payload) != crc and False:",
        ),
        (
            "a partial append stays",
            "                os.ftruncate(self._fd, self.size)\n",
            "                pass\n",
        ),
        (
            "a frame that was changed counts",
            "len(payload) != length or zlib.crc32(payload) != crc:",
            "len(payload) != length:",
        ),
        (
            "the file only grows",
            "return self.size - self._base > SLACK + GROWTH * self._base",
            "return False",
        ),
    ),
    *faults(
        f"{_ROOM}/handshake/rules.py",
        (_EDGES, *_HANDSHAKE),
        ("any domain moves a frontend", "if not own and owner >= 0:", "if False:"),
        ("a frontend takes any step", "if not may_switch(Half.FRONTEND, old, new):", "if False:"),
        ("a backend takes any step", "if not may_switch(Half.BACKEND, old, new):", "if False:"),
        (
            "a ring need not be published",
            "and not published(kind, has):\n        found",
            "and False:\n        found",
        ),
        (
            "a backend is Connected first",
            "if new == XenbusState.Connected and other is not None and other not in _SAID:",
            "if False:",
        ),
        (
            "a disk's frontend skips Initialised",
            'if new == XenbusState.Connected and fresh and kind == "vbd":',
            "if False:",
        ),
        (
            "an early read is none",
            "    if not (reads_peer and early):\n        return []\n",
            "    return []\n",
        ),
        (
            "a text that is no state is one",
            "    if new == XenbusState.Unknown:\n        return [",
            "    if False:\n        return [",
        ),
    ),
]
