"""A machine that gives nobody a namespace, for one command: a container, a careful distribution.

``python -m tests.support.no_namespaces COMMAND...``
"""

import errno
import os
import sys

from hvsim.linux import syscalls
from hvsim.spawn.sandbox import seccomp
from hvsim.spawn.sandbox.bpf import Arg, Deny, assemble

_NAMESPACES = 0x7E02_0000


def refuse_namespaces() -> None:
    """From now on this process and its children get none."""
    machine = syscalls.MACHINE
    rules = [
        Deny(name, errno.EPERM, (Arg(0, "!=", 0, mask=_NAMESPACES),))
        for name in ("clone", "unshare")
    ]
    code = assemble(
        rules, syscalls.NUMBERS[machine], syscalls.AUDIT_ARCH[machine], 2**31 - 1, errno.ENOSYS
    )
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.load(code)


if __name__ == "__main__":
    refuse_namespaces()
    os.execvp(sys.argv[1], sys.argv[1:])
