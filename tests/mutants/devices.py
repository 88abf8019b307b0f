"""Requests of a disk, packets and offloads of a vif."""

# ruff: noqa: E501 - texts stand here as they stand in their files

from typing import Final

from tests.mutants.fault import Fault, faults

_BLOCK = (
    "tests/drivers/test_block_features.py",
    "tests/drivers/test_block_attacks.py",
    "tests/drivers/test_block_attacks_back.py",
    "tests/drivers/test_block_ring.py",
    "tests/drivers/test_block_device.py",
)
_NET = (
    "tests/drivers/test_net_slots.py",
    "tests/drivers/test_net_protocol.py",
    "tests/drivers/test_net_attacks_front_slots.py",
)
_PAIR = ("tests/drivers/test_net_pair.py", "tests/drivers/test_net_protocol.py")

_KIT = ("tests/drivers/test_split_kit.py",)

FAULTS: Final[list[Fault]] = [
    *faults(
        "hvsim/drivers/block/service.py",
        _BLOCK,
        ("a segment leaves its page", " or segment.last_sect >= SECTORS_PER_PAGE:", ":"),
        ("a segment ends before it begins", "if segment.first_sect > segment.last_sect or", "if"),
        (
            "a request goes past the end of the disk",
            "if segments and (total > image.sectors or sector > image.sectors - total):",
            "if False:",
        ),
        (
            "a request ends one sector past the end",
            "sector > image.sectors - total):",
            "sector > image.sectors - total + 1):",
        ),
        (
            "a read-only disk is written",
            "        if segments and image.readonly:\n",
            "        if False:\n",
        ),
        (
            "12 segments are taken",
            "if count > BLKIF_MAX_SEGMENTS_PER_REQUEST or (count == 0",
            "if count > BLKIF_MAX_SEGMENTS_PER_REQUEST + 1 or (count == 0",
        ),
        (
            "257 indirect segments are taken",
            "if not 0 < request.nr_segments <= MAX_INDIRECT_SEGMENTS:",
            "if not 0 < request.nr_segments <= MAX_INDIRECT_SEGMENTS + 1:",
        ),
        (
            "an indirect operation may be any",
            "if request.indirect_op not in (BLKIF_OP_READ, BLKIF_OP_WRITE):",
            "if False:",
        ),
        (
            "a discard goes past the end",
            "if count > image.sectors or request.sector_number > image.sectors - count:",
            "if False:",
        ),
        ("a secure discard is a discard", "if request.flag & BLKIF_DISCARD_SECURE:", "if False:"),
        (
            "an answer has another number",
            "pack_response(request.id, operation, status)",
            "pack_response(request.id ^ 1, operation, status)",
        ),
        (
            "a barrier flushes nothing",
            "            image.flush()\n            counted.flushes += 1\n",
            "",
        ),
    ),
    *faults(
        "hvsim/drivers/block/request.py",
        _BLOCK,
        (
            "a piece has another's data",
            "parts.append(Part(self, self.sector + first, count, first * SECTOR_SIZE))",
            "parts.append(Part(self, self.sector + first, count, 0))",
        ),
        (
            "a request is done with its first piece",
            "        if self._left == 0:\n",
            "        if True:\n",
        ),
        (
            "a failed piece is forgotten",
            "if status != BLKIF_RSP_OKAY and self._error is None:",
            "if False:",
        ),
        (
            "neighbours overlap",
            "return self.sector < other.sector + other.count and other.sector < self.sector + self.count",
            "return self.sector <= other.sector + other.count and other.sector <= self.sector + self.count",
        ),
        (
            "a piece that is cut again has the wrong data",
            "self.offset + first * SECTOR_SIZE,\n            )\n            for",
            "self.offset,\n            )\n            for",
        ),
        (
            "pieces that came later are not waited for",
            "self.request.more_parts(len(smaller) - 1)",
            "pass",
        ),
    ),
    *faults(
        "hvsim/drivers/block/features.py",
        _BLOCK,
        (
            "a ring of any order",
            "if order is None or order > MAX_RING_PAGE_ORDER:",
            "if order is None:",
        ),
        (
            "sectors of any size",
            "if sector_size < SECTOR_SIZE or sector_size > 4096 or sector_size & (sector_size - 1):",
            "if False:",
        ),
        (
            "a disk of any size",
            "if not 0 <= sectors <= MAX_SECTORS or found",
            "if not 0 <= sectors or found",
        ),
    ),
    *faults(
        "hvsim/drivers/net/protocol.py",
        _NET,
        ("a slot leaves its page", "if part_offset + part_size > PAGE_SIZE:", "if False:"),
        ("the first slot leaves its page", "elif offset + rest > PAGE_SIZE:", "elif False:"),
        ("slots that do not add up", "if part_size > rest:", "if False:"),
        ("a packet has any number of slots", "if len(parts) + 2 > FATAL_SLOTS:", "if False:"),
        ("19 slots are taken", "len(parts) + 1 > MAX_SLOTS:", "len(parts) + 1 > MAX_SLOTS + 1:"),
        ("a packet is too short", "if size < ETH_HLEN:", "if False:"),
        (
            "an extra of no type is taken",
            "if kind == XEN_NETIF_EXTRA_TYPE_NONE or kind >= XEN_NETIF_EXTRA_TYPE_MAX:",
            "if kind >= XEN_NETIF_EXTRA_TYPE_MAX:",
        ),
        (
            "an extra of an unknown type is taken",
            "or kind >= XEN_NETIF_EXTRA_TYPE_MAX:",
            "or kind > XEN_NETIF_EXTRA_TYPE_MAX:",
        ),
        (
            "an empty slot is one",
            '        if not part_size:\n            packet.refused = packet.refused or "empty_slot"\n',
            "",
        ),
        (
            "extras are not bounded",
            "if kind in packet.extras and len(packet.ids) > MAX_EXTRAS:",
            "if False:",
        ),
        (
            "a packet ends where the ring does",
            'raise BrokenByPeer(f"a packet of more than {len(parts) + 1} slots ends after those")',
            "break",
        ),
        (
            "a first slot of no bytes",
            '        if not rest:\n            packet.refused = "empty_slot"\n        elif',
            "        if",
        ),
        ("the first slot has all of it", "            rest -= part_size\n", "            pass\n"),
        (
            "a size is a kind of segment",
            "        return kind, size\n",
            "        return size, kind\n",
        ),
        (
            "a packet without its extra is one",
            '            raise BrokenByPeer("missing extra info")',
            "            return",
        ),
    ),
    *faults(
        "hvsim/drivers/split/late_eoi.py",
        _KIT,
        (
            "each hold is as long as the first",
            "SPURIOUS_DELAYS[min(self.held, len(SPURIOUS_DELAYS) - 1)]",
            "SPURIOUS_DELAYS[0]",
        ),
        (
            "work ends no patience",
            "            self._spurious = self.held = 0\n            return\n",
            "            return\n",
        ),
        ("a closed port is listened to", "        if not self._closed:\n", "        if True:\n"),
        (
            "a bell too few is allowed",
            "if self._spurious > SPURIOUS_ALLOWED:",
            "if self._spurious >= SPURIOUS_ALLOWED:",
        ),
    ),
    *faults(
        "hvsim/names/number.py",
        _KIT,
        (
            "a number above the limit is one",
            "return number if number <= most else None",
            "return number",
        ),
        ("a number of any length is read", "or len(text) > len(str(most)) or", "or"),
    ),
    *faults(
        "hvsim/drivers/net/offload.py",
        _PAIR,
        ("a sum is sought behind the copy", "if start + offset + 2 > len(head):", "if False:"),
        (
            "an IPv4 header of any length",
            "if length < 20 or head[at] >> 4 != 4:",
            "if head[at] >> 4 != 4:",
        ),
        ("a segment of no bytes", "if size < MIN_SEGMENT:", "if False:"),
        (
            "IPv6 is cut as IPv4",
            '        if inner == _ETH_IPV6:\n            raise Unfit("gso_type")\n',
            "",
        ),
        (
            "UDP is cut as TCP",
            "if offset != _CSUM_AT[6] or start + 13 > len(head):",
            "if start + 13 > len(head):",
        ),
        (
            "a blank sum is said to be right",
            "return VNET.pack(F_NEEDS_CSUM, GSO_NONE, 0, 0, start, offset)",
            "return _VALIDATED",
        ),
        (
            "a blank sum is not told to the ring",
            "blank = bool(flags & F_NEEDS_CSUM)",
            "blank = False",
        ),
    ),
    *faults(
        "hvsim/drivers/net/rate.py",
        _PAIR,
        (
            "credit is saved up",
            "self._left = min(self._bytes, self._left + passed * self._bytes)",
            "self._left = self._left + passed * self._bytes",
        ),
        ("a frame costs nothing", "        self._left -= size\n", "        pass\n"),
    ),
]
