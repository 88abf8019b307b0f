"""hvsim capture"""

import argparse
import contextlib
import errno
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import BinaryIO

from hvsim.commands.common import control_of, lab_option, positive, seconds, warn
from hvsim.errors import HvsimError

HELP = """Write the frames that cross a vif into a pcapng file, which tshark and Wireshark read.

VIF is vif3.0 (domain 3, interface 0), GUEST/0 or GUEST. Frames are seen by one half of the
interface: the backend (default) or the guest's frontend. They are seen whole, before anybody cuts
large TCP segments for a wire: such packets are marked (flags and a comment). A checksum that the
sender left open is filled in, unless --raw; the packet's flags say that it was.

A capture never slows the interface: frames that find no room are dropped from the capture and
counted in the file and at the end. It goes on with a new backend when the old one dies, and ends
with Ctrl-C, a limit, or the interface."""
EXAMPLE = """  hvsim capture vif3.0 -w out.pcapng
  hvsim capture web-frontend --side front -s 128 -c 1000 -w heads.pcapng
  hvsim capture web-frontend -w - | tshark -r -"""
DEFAULT_SNAPLEN = 262144
ENDS = (signal.SIGINT, signal.SIGTERM)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument("vif", metavar="VIF")
    parser.add_argument(
        "-w", dest="file", metavar="FILE", required=True, help="where to; - is standard output"
    )
    parser.add_argument("--side", choices=("back", "front"), default="back")
    parser.add_argument("-c", dest="count", type=positive, metavar="N", help="end after N frames")
    parser.add_argument("--seconds", type=seconds, metavar="S", help="end after S seconds")
    parser.add_argument(
        "-s",
        dest="snaplen",
        type=positive,
        default=DEFAULT_SNAPLEN,
        metavar="BYTES",
        help="keep at most so much of a frame (default: all of it)",
    )
    parser.add_argument(
        "--raw", action="store_true", help="leave open checksums as they crossed the ring"
    )
    lab_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0; 1 when there is no such interface, or the lab ended meanwhile."""
    from hvsim.errors import BrokenByPeer
    from hvsim.lab.answers import ControlError
    from hvsim.lab.choose import choose
    from hvsim.observe.capture import Capture, Limits

    lab = choose(options.lab)
    failed: str | None = None
    with control_of(lab) as control, _output(options.file) as out, _gentle_end() as told_to_end:
        capture = Capture(
            control, out, options.side, min(options.snaplen, DEFAULT_SNAPLEN), not options.raw
        )
        try:
            capture.start(options.vif)
            warn(f"{capture.about['vif']}: {capture.describe()}; Ctrl-C ends it")
            try:
                capture.run(Limits(options.count, options.seconds), told_to_end)
            except (BrokenByPeer, ControlError) as error:
                failed = str(error)
        except BrokenPipeError:
            raise
        except OSError as error:
            failed = f"{options.file}: {error.strerror or error}"
        finally:
            with control_of(lab) as another, contextlib.suppress(ControlError):
                capture.stop(another)
        capture.close()
        warn(
            f"{capture.frames} frames captured, {capture.dropped} dropped"
            + (f"; {capture.ended}" if capture.ended else "")
        )
    if failed is not None:
        raise HvsimError(failed)
    return 0


@contextlib.contextmanager
def _gentle_end() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM came once: the file is finished then. The next one cuts it off."""
    told: list[int] = []

    def take(number: int, frame: FrameType | None) -> None:
        told.append(number)
        for other, before in zip(ENDS, old, strict=True):
            signal.signal(other, before)

    old = [signal.signal(number, take) for number in ENDS]
    try:
        yield lambda: bool(told)
    finally:
        for number, before in zip(ENDS, old, strict=True):
            signal.signal(number, before)


@contextlib.contextmanager
def _output(name: str) -> Iterator[BinaryIO]:
    """The file to write to; nobody's terminal is filled with it."""
    if name == "-":
        if sys.stdout.isatty():
            raise HvsimError("-w - writes binary data: send it into a file or a program")
        yield sys.stdout.buffer
        return
    with open(_opened(name), "wb") as file:
        yield file


def _opened(name: str) -> int:
    """The descriptor of a file to write to, or of a FIFO that somebody reads.

    Raises: HvsimError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO and stat.S_ISFIFO(os.stat(name).st_mode):
            raise HvsimError(f"{name}: nobody reads this FIFO; start its reader first") from None
        raise HvsimError(f"{name}: {error.strerror}") from None
    if os.isatty(fd):
        os.close(fd)
        raise HvsimError(f"{name} is a terminal: send it into a file or a program")
    os.set_blocking(fd, True)
    return fd
