"""From the bytes of a request to the bytes of its answer.

Whatever a domain sends, it gets one answer, and it is the only one who notices: a message that is
none gets -EINVAL, an unknown command -ENOSYS. Types are checked exactly, before the handler runs.
"""

import traceback
from typing import Any, Final

from hvsim import shortage
from hvsim.abi.errno import E2BIG, EBUSY, EFAULT, EINVAL, EMFILE, ENFILE, ENOMEM, ENOSYS, name
from hvsim.abi.hypercall import LATER, MAX_LATER, MAX_TAG, MESSAGE_MAX, NAMES
from hvsim.hypervisor.calls import TABLE, Answer
from hvsim.hypervisor.domains import Process
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.host import Held
from hvsim.hypervisor.lifecycle import DEFERRED
from hvsim.hypervisor.machine import Machine
from hvsim.hypervisor.ops import load_all
from hvsim.speak import note
from hvsim.wire.packing import packer, unpack

load_all()

Objects = list[Held]
_NONE: Final[Objects] = []


class Dispatcher:
    """Serves the hypercalls of all processes of a machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._pack = packer()

    def serve(self, process: Process, request: bytes | memoryview) -> tuple[bytes, Objects] | None:
        """Answer one request: (reply, whose descriptors go with it).

        None when the answer comes later, through ``Host.reply``. Never raises.
        """
        try:
            message = unpack(request)
        except Exception as error:  # msgpack's own kinds, ValueError, RecursionError ...
            if len(request) > MESSAGE_MAX:
                return self.oversized(process)
            return self._malformed(process, f"no message: {type(error).__name__}")
        if type(message) is not list or len(message) < 2:
            return self._malformed(process, "no [call, cmd, ...]")
        call, cmd = message[0], message[1]
        if type(call) is not int or type(cmd) is not int:
            if type(call) is list:
                return self._tagged(process, call, message[1:])
            return self._malformed(process, "call and cmd are no numbers")
        entry = TABLE.get((call, cmd))
        if entry is None:
            return self._refuse(process, call, cmd, ENOSYS, "not implemented")
        handler, types = entry
        arguments = message[2:]
        if len(arguments) != len(types):
            return self._refuse(
                process, call, cmd, EINVAL, f"{len(arguments)} arguments, {len(types)} wanted"
            )
        for argument, wanted in zip(arguments, types, strict=False):
            if type(argument) is not wanted:
                return self._refuse(
                    process,
                    call,
                    cmd,
                    EINVAL,
                    f"{type(argument).__name__} where {wanted.__name__} is wanted",
                )
        try:
            result = handler(self._machine, process, *arguments)
            if result is DEFERRED:
                return None
            if type(result) is Answer:
                return self._pack((0, *result.results)), result.objects
            reply = self._pack((0, *result))  # type: ignore[misc]
        except XenError as refusal:
            return self._refuse(process, call, cmd, refusal.errno, refusal.why)
        except OSError as error:
            number = EMFILE if error.errno in (EMFILE, ENFILE) else ENOMEM
            self._machine.shortage = shortage.words(error)
            why = f"the machine refuses: {self._machine.shortage}"
            return self._refuse(process, call, cmd, number, why)
        except Exception as error:
            # A bug of ours. It costs this caller its call, and nobody the machine.
            note(traceback.format_exc())
            return self._refuse(process, call, cmd, EFAULT, f"BUG: {error!r}")
        if len(reply) > MESSAGE_MAX:
            return self._refuse(process, call, cmd, E2BIG, "the answer is too large")
        return reply, _NONE

    def _tagged(
        self, process: Process, tag: list[Any], message: list[Any]
    ) -> tuple[bytes, Objects] | None:
        """A call whose answer may come after those of others: at once, or LATER now."""
        if len(tag) != 1 or type(tag[0]) is not int or not 0 < tag[0] <= MAX_TAG:
            return self._malformed(process, "a tag is a list of one number")
        if not message or type(message[0]) is not int:
            return self._malformed(process, "no [[tag], call, cmd, ...]")
        if process.later >= MAX_LATER:
            return self._refuse(process, message[0], 0, EBUSY, f"{MAX_LATER} calls are open")
        process.tag = tag[0]
        try:
            answer = self.serve(process, self._pack(message))
        finally:
            process.tag = 0
        if answer is not None:
            return answer
        process.later += 1
        return self._pack((LATER,)), _NONE

    def oversized(self, process: Process) -> tuple[bytes, Objects]:
        """The answer to a request over 64 KiB."""
        self._machine.ledger.refuse(
            "hypercall.refused",
            process.domid,
            f"d{process.domid}: request over {MESSAGE_MAX} bytes",
        )
        return self._pack((-E2BIG,)), _NONE

    def pack(self, message: list[Any], tag: int = 0) -> bytes:
        """The bytes of an answer that comes late, to a call with that *tag*."""
        packed: bytes = self._pack([[tag], *message] if tag else message)
        return packed

    def _malformed(self, process: Process, text: str) -> tuple[bytes, Objects]:
        self._machine.ledger.refuse(
            "hypercall.malformed", process.domid, f"d{process.domid}: {text}"
        )
        return self._pack((-EINVAL,)), _NONE

    def _refuse(
        self, process: Process, call: int, cmd: int, errno: int, why: str
    ) -> tuple[bytes, Objects]:
        ledger = self._machine.ledger
        if why:
            ledger.refuse(
                "hypercall.refused",
                process.domid,
                f"d{process.domid} {NAMES.get(call, call)} command {cmd:#x}: {name(errno)}, {why}",
                errno=errno,
            )
        else:
            ledger.counters["hypercall.error"] += 1
        return self._pack((-errno,)), _NONE
