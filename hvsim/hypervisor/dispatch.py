"""From the bytes of a request to the bytes of its answer.

Whatever a domain sends, it gets one answer, and it is the only one who notices: a message that is
none gets -EINVAL, an unknown command -ENOSYS. Types are checked exactly, before the handler runs.

Unpacking cannot be done in pieces, so what it costs is bounded before it begins: a large message
may have so many arrays and maps and no more (:data:`MAX_PARTS`), and none of msgpack's extensions.
"""

from types import GeneratorType
from typing import Final

from hvsim import shortage
from hvsim.abi.errno import E2BIG, EBUSY, EFAULT, EINVAL, EMFILE, ENFILE, ENOMEM, ENOSYS, name
from hvsim.abi.hypercall import LATER, MAX_LATER, MAX_TAG, MESSAGE_MAX, NAMES
from hvsim.hypervisor.calls import TABLE, Answer, Result, Steps
from hvsim.hypervisor.domains import Process
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.host import Address, Held
from hvsim.hypervisor.late import DEFERRED
from hvsim.hypervisor.machine import Machine
from hvsim.hypervisor.ops import load_all
from hvsim.hypervisor.work import Job
from hvsim.wire.packing import packer, unpack

load_all()

Objects = list[Held]
SIMPLE: Final = 4096
"""Bytes of a message that may be made of whatever it likes."""
MAX_PARTS: Final = 4096
"""What a larger one may weigh (:func:`weight`)."""
MAX_PARTS_DOM0: Final = 12288
_NONE: Final[Objects] = []
_EXTENSIONS: Final = bytes((0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8))
_CONTAINERS: Final = bytes((*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF))
_EVERYTHING: Final = bytes(range(256))
_NO_EXTENSIONS: Final = _EVERYTHING.translate(None, _EXTENSIONS)
_NO_CONTAINERS: Final = _EVERYTHING.translate(None, _CONTAINERS)


def weight(message: bytes | memoryview) -> int:
    """What unpacking a message may cost, in arrays: the bytes that may each begin an array or a
    map, and four for each that may begin an extension (a time is one, and costs that much).

    Such a byte may as well be part of a number or a text: these are one in six of random ones.
    """
    data = bytes(message)
    extensions = len(data.translate(None, _NO_EXTENSIONS))
    return len(data.translate(None, _NO_CONTAINERS)) + 4 * extensions


def _no_extension(_code: int, _data: bytes) -> None:
    raise ValueError("no such type")


class Dispatcher:
    """Serves the hypercalls of all processes of a machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._pack = packer()
        self._shortages: dict[int | None, str] = {}

    def serve(self, process: Process, request: bytes | memoryview) -> tuple[bytes, Objects] | None:
        """Answer one request: (reply, whose descriptors go with it).

        None when the answer comes later, through ``Host.reply``. Never raises.
        """
        if len(request) > SIMPLE:
            if len(request) > MESSAGE_MAX:
                return self.oversized(process)
            if weight(request) > (MAX_PARTS_DOM0 if process.domain.privileged else MAX_PARTS):
                return self._malformed(process, "too many arrays and maps in one message")
        try:
            message = unpack(request, ext_hook=_no_extension)
        except Exception as error:  # msgpack's own kinds, ValueError, RecursionError ...
            return self._malformed(process, f"no message: {type(error).__name__}")
        if type(message) is list and message and type(message[0]) is list:
            return self._tagged(process, message[0], message[1:])
        return self._call(process, message)

    def _call(self, process: Process, message: object) -> tuple[bytes, Objects] | None:
        if type(message) is not list or len(message) < 2:
            return self._malformed(process, "no [call, cmd, ...]")
        call, cmd = message[0], message[1]
        if type(call) is not int or type(cmd) is not int:
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
            if type(result) is GeneratorType:
                steps: Steps = result
                try:
                    next(steps)
                except StopIteration as end:
                    result = end.value
                else:
                    self._machine.work.start(self._rest(process, call, cmd, steps))
                    return None
            if result is DEFERRED:
                return None
            if type(result) is Answer:
                return self._pack((0, *result.results)), result.objects
            reply = self._pack((0, *result))  # type: ignore[misc]
        except Exception as error:
            return self._failed(process, call, cmd, error)
        if len(reply) > MESSAGE_MAX:
            return self._refuse(process, call, cmd, E2BIG, "the answer is too large")
        return reply, _NONE

    def _rest(self, process: Process, call: int, cmd: int, steps: Steps) -> Job:
        """The further pieces of a call, and its answer."""
        address = process.address
        yield
        while not process.gone:
            try:
                next(steps)
            except StopIteration as end:
                self._late(process, address, call, cmd, end.value)
                return
            except Exception as error:
                reply, _ = self._failed(process, call, cmd, error)
                self._machine.host.reply(address, unpack(reply))
                return
            yield
        steps.close()

    def _late(
        self, process: Process, address: Address, call: int, cmd: int, result: Result
    ) -> None:
        objects: Objects = []
        if isinstance(result, Answer):
            results, objects = result.results, result.objects
        else:
            assert isinstance(result, tuple)
            results = result
        _, tag = address
        reply = self.pack([0, *results], tag)
        refusal: tuple[int, str] | None = None
        if len(reply) > MESSAGE_MAX:
            refusal = E2BIG, "the answer is too large"
        elif tag and objects:
            refusal = EINVAL, "a call with a tag brings no descriptors"
        if refusal is not None:
            self._refuse(process, call, cmd, *refusal)
            reply, objects = self.pack([-refusal[0]], tag), _NONE
        self._machine.host.reply(address, reply, objects)

    def _failed(
        self, process: Process, call: int, cmd: int, error: Exception
    ) -> tuple[bytes, Objects]:
        """The answer to a call whose handler has raised."""
        if isinstance(error, XenError):
            return self._refuse(process, call, cmd, error.errno, error.why)
        if isinstance(error, OSError):
            number = EMFILE if error.errno in (EMFILE, ENFILE) else ENOMEM
            return self._refuse(process, call, cmd, number, self._short_of(error))
        # A bug of ours. It costs this caller its call, and nobody the machine.
        self._machine.host.complain(error)
        return self._refuse(process, call, cmd, EFAULT, f"BUG: {error!r}")

    def _short_of(self, error: OSError) -> str:
        """Why the machine refuses something.  Found out once for each errno: who provokes it again
        and again costs no more than a look at a table."""
        if error.errno not in self._shortages:
            self._shortages[error.errno] = shortage.words(error)
        self._machine.shortage = self._shortages[error.errno]
        return f"the machine refuses: {self._machine.shortage}"

    def _tagged(
        self, process: Process, tag: list[object], message: list[object]
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
            answer = self._call(process, message)
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

    def starved(self, process: Process, error: OSError) -> tuple[bytes, Objects]:
        """The answer to a call whose descriptors cannot be sent."""
        self._machine.ledger.refuse(
            "hypercall.starved",
            process.domid,
            f"d{process.domid}: no descriptors to answer with: {error.strerror}",
        )
        return self._pack((-ENOMEM,)), _NONE

    def pack(self, message: list[object], tag: int = 0) -> bytes:
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
