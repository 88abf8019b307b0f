"""What recovery rests on: a disk's unanswered requests, granted pages; what a guest hears."""

from typing import Final

from tests.mutants.fault import Fault, faults

_QUEUE = ("tests/drivers/test_block_ring.py", "tests/drivers/test_block_attacks_back.py")
_KIT = ("tests/drivers/test_split_kit.py",)

FAULTS: Final[list[Fault]] = [
    *faults(
        "hvsim/drivers/block/queue.py",
        _QUEUE,
        (
            "the youngest is issued again first",
            "self._waiting.extendleft(reversed(self.under_way.values()))",
            "self._waiting.extendleft(self.under_way.values())",
        ),
        (
            "what a dead backend had is lost",
            "            self._waiting.extendleft(reversed(self.under_way.values()))\n",
            "",
        ),
        (
            "what a dead backend had comes last",
            "self._waiting.extendleft(reversed(self.under_way.values()))",
            "self._waiting.extend(self.under_way.values())",
        ),
        (
            "a change passes a change of its sector",
            "any(part.overlaps(out) for out in changes.values())",
            "False",
        ),
        ("a flush passes a change", "            op == FLUSH or (op in", "            (op in"),
        (
            "an answer to nothing is taken",
            'raise BrokenByPeer(f"response has incorrect id ({number:#x})")',
            "return",
        ),
        (
            "an answer to another operation is taken",
            "if op != request.op and not (op == BLKIF_OP_INDIRECT and part.indirect):",
            "if False:",
        ),
        ("an answer comes twice", "        del self.under_way[number]\n", ""),
        (
            "a request that is too large for a new backend goes out",
            "piece for part in self._waiting for piece in part.cut(self._max_sectors)",
            "part for part in self._waiting",
        ),
        (
            "a short piece reads what is behind it",
            "view = view[: part.count * SECTOR_SIZE]",
            "pass",
        ),
        (
            "a full page is named by each segment",
            "flat += (pool.ref(page), 0, min(left, SECTORS_PER_PAGE) - 1)",
            "flat += (pool.ref(page), 0, SECTORS_PER_PAGE - 1)",
        ),
        (
            "what was written is not copied",
            "            pool.pages[page][: len(piece)] = piece\n            at += PAGE_SIZE",
            "            at += PAGE_SIZE",
        ),
    ),
    *faults(
        "hvsim/drivers/split/pool.py",
        ("tests/drivers/test_page_pool.py",),
        ("a page has another's frame", "self.extent.gfn(page)", "self.extent.gfn(0)"),
        (
            "a page that the peer keeps is used again",
            "                    clean = False\n                    continue\n",
            "                    clean = False\n",
        ),
        ("that the peer keeps a page is not told", "                    clean = False\n", ""),
        ("a page is granted anew each time", "            self._refs[page] = ref\n", ""),
        (
            "a grant outlives its request",
            "                    self._grants.end_access(ref)\n",
            "                    pass\n",
        ),
    ),
    *faults(
        "hvsim/drivers/split/pages.py",
        _KIT,
        (
            "the first page makes room, whatever was used",
            "        if self._by_use:\n",
            "        if False:\n",
        ),
        ("a request makes room with its own pages", "if ref not in needed]", "]"),
        ("nobody makes room", "        if surplus <= 0:\n", "        if True:\n"),
        (
            "a page is mapped twice",
            "for ref in dict.fromkeys(refs) if ref not in self._pages]",
            "for ref in dict.fromkeys(refs)]",
        ),
    ),
    *faults(
        "hvsim/drivers/net/multicast.py",
        ("tests/drivers/test_multicast.py",),
        ("a station is a group", "or not address[0] & 1 or len", "or len"),
        ("groups are not bounded", " or len(self._addresses) >= MAX_ADDRESSES:", ":"),
        (
            "who does not filter has groups",
            "        if not self.on or not address[0]",
            "        if not address[0]",
        ),
        ("nobody hears what is for all", "destination == _BROADCAST or ", ""),
        (
            "each group is heard",
            "if not self.on or not destination or not destination[0] & 1:",
            "if True:",
        ),
        ("a group that was left is heard", "            self._addresses.discard(address)\n", ""),
    ),
]
