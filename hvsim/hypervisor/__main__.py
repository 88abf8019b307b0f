"""``python -m hvsim.hypervisor --config-fd N [--notice-fd M]``"""

import argparse
import contextlib
import fcntl
import gc
import os
import signal
import sys
from collections.abc import Sequence

from hvsim import shortage
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.kernel import raise_descriptor_limit
from hvsim.hypervisor.server import Server
from hvsim.hypervisor.spawning import StartSpawner, as_program
from hvsim.speak import note
from hvsim.wire.boot import Boot
from hvsim.wire.packing import pack, unpack
from hvsim.wire.typed import BadMessage, read


def _notice(fd: int | None, notice: dict[str, object]) -> None:
    """Tell who started us, once; one who is gone does not matter."""
    if fd is not None:
        with contextlib.suppress(OSError):
            os.write(fd, pack(notice))
        os.close(fd)


def _read_config(fd: int) -> Boot:
    with open(fd, "rb") as file:
        data = file.read()
    try:
        return read(Boot, unpack(data, strict_map_key=False))
    except BadMessage:
        raise
    except ValueError as error:
        raise BadMessage(f"the boot config is no msgpack: {error}") from None


def _in_lockstep(config: Boot, spawner: StartSpawner) -> Server:
    from hvsim.hypervisor.lockstep.server import LockstepServer  # seldom wanted

    return LockstepServer(config, spawner)


def main(argv: Sequence[str] | None = None, spawner: StartSpawner = as_program) -> int:
    """Boot, say so, serve until halted, leave nothing. Exit status 0 after an orderly end.

    *spawner* starts the spawner.
    """
    parser = argparse.ArgumentParser(
        prog="python -m hvsim.hypervisor",
        description="The hypervisor of one lab. Started by `hvsim up`.",
        epilog="example: python -m hvsim.hypervisor --config-fd 7 --notice-fd 8 7<boot.msgpack",
    )
    parser.add_argument("--config-fd", type=int, required=True, help="msgpack boot config")
    parser.add_argument(
        "--notice-fd", "--ready-fd", type=int, help="where the msgpack ready notice is written"
    )
    parser.add_argument("--lock-fd", type=int, help="a file that is locked as long as we live")
    options = parser.parse_args(argv)
    if options.notice_fd is not None:
        os.set_inheritable(options.notice_fd, False)
    if options.lock_fd is not None:
        # By it the kernel tells which process is the hypervisor of this lab (F_GETLK).
        os.set_inheritable(options.lock_fd, False)
        fcntl.lockf(options.lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        config = _read_config(options.config_fd)
    except BadMessage as error:
        note(f"hypervisor: {error}")
        _notice(options.notice_fd, {"error": str(error)})
        return 1
    raise_descriptor_limit()
    server = _in_lockstep(config, spawner) if config.lockstep else Server(config, None, spawner)
    signal.signal(signal.SIGTERM, server.stop)
    signal.signal(signal.SIGINT, server.stop)
    try:
        notice = server.boot()
    except (OSError, XenError) as error:
        why = shortage.words(error) if type(error) is OSError else str(error)
        notice = {"error": why}
        server.halt(1, why)
    _notice(options.notice_fd, notice)
    # A round of the cyclic collector stops everybody for milliseconds. Nothing here is left to it
    # (tests/hypervisor/test_bounds.py).
    gc.freeze()
    gc.disable()
    try:
        return server.run()
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
