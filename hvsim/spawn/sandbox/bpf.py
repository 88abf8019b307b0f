"""A small assembler for classic BPF as seccomp runs it: rules as data in, bytes out.

Pure: no system call is made here.  Layouts are those of ``linux/filter.h`` (one
instruction = ``u16 code, u8 jt, u8 jf, u32 k``) and ``linux/seccomp.h`` (``struct
seccomp_data``: ``int nr; u32 arch; u64 ip; u64 args[6]``), little endian.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

LD_W_ABS: Final = 0x20
JMP_JEQ_K: Final = 0x15
JMP_JGT_K: Final = 0x25
ALU_AND_K: Final = 0x54
RET_K: Final = 0x06

RET_KILL_PROCESS: Final = 0x8000_0000
RET_ERRNO: Final = 0x0005_0000
RET_ALLOW: Final = 0x7FFF_0000

OFFSET_NR: Final = 0
OFFSET_ARCH: Final = 4
OFFSET_ARGS: Final = 16

#: One instruction: code, jump-if-true, jump-if-false, constant.
Instruction = tuple[int, int, int, int]


@dataclass(frozen=True)
class Arg:
    """A condition on 32 bits of one argument: ``(args[index] & mask) op value``.

    ``high`` selects the upper half.  The kernel itself looks only at the lower half of
    arguments that it declares ``int``, so a condition on those needs no second half.
    """

    index: int
    op: Literal["==", "!=", ">"]
    value: int
    mask: int = 0xFFFF_FFFF
    high: bool = False


@dataclass(frozen=True)
class Deny:
    """Refuse a system call with an errno, always or when all the conditions hold."""

    name: str
    errno: int
    when: tuple[Arg, ...] = ()


def assemble(
    rules: Iterable[Deny],
    numbers: Mapping[str, int],
    audit_arch: int,
    highest: int,
    beyond_errno: int,
) -> bytes:
    """Compile rules into a seccomp program.

    A call of another architecture kills the process: its numbers mean something else, and
    no honest program makes one.  A number above ``highest`` fails with ``beyond_errno``
    (ENOSYS, as on an older kernel): nobody has judged those calls, and x32 numbers are
    among them.  Everything that no rule refuses is allowed.  A rule for a call that the
    architecture lacks is left out.
    """
    groups: dict[int, list[Deny]] = {}
    for rule in rules:
        if rule.name in numbers:
            groups.setdefault(numbers[rule.name], []).append(rule)
    program: list[Instruction] = [
        (LD_W_ABS, 0, 0, OFFSET_ARCH),
        (JMP_JEQ_K, 1, 0, audit_arch),
        (RET_K, 0, 0, RET_KILL_PROCESS),
        (LD_W_ABS, 0, 0, OFFSET_NR),
        (JMP_JGT_K, 0, 1, highest),
        (RET_K, 0, 0, RET_ERRNO | beyond_errno),
    ]
    for nr, members in sorted(groups.items()):
        body = _group(members)
        program.append((JMP_JEQ_K, 0, _jump(len(body)), nr))
        program += body
    program.append((RET_K, 0, 0, RET_ALLOW))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def _group(rules: list[Deny]) -> list[Instruction]:
    """The rules of one call; every path through them ends in a return."""
    body: list[Instruction] = []
    for rule in rules:
        body += _rule(rule)
        if not rule.when:
            return body
    body.append((RET_K, 0, 0, RET_ALLOW))
    return body


def _rule(rule: Deny) -> list[Instruction]:
    """Return the errno when all conditions hold, else fall out behind the last instruction."""
    blocks: list[list[Instruction]] = []
    for arg in rule.when:
        block: list[Instruction] = [
            (LD_W_ABS, 0, 0, OFFSET_ARGS + 8 * arg.index + (4 if arg.high else 0))
        ]
        if arg.mask != 0xFFFF_FFFF:
            block.append((ALU_AND_K, 0, 0, arg.mask))
        blocks.append(block)
    body: list[Instruction] = []
    # From the end to the front, because each test has to know how far the end is.
    for arg, block in zip(reversed(rule.when), reversed(blocks), strict=True):
        away = _jump(len(body) + 1)
        test = (away, 0) if arg.op == "!=" else (0, away)
        jump = JMP_JGT_K if arg.op == ">" else JMP_JEQ_K
        body = [*block, (jump, *test, arg.value), *body]
    return [*body, (RET_K, 0, 0, RET_ERRNO | rule.errno)]


def _jump(distance: int) -> int:
    if distance > 255:
        raise ValueError(f"a jump over {distance} instructions does not fit into 8 bits")
    return distance
