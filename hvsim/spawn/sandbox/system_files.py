"""What of the machine's own files a program of it needs, as lists.

Everything here is shown read-only.  A list of what is there beats a list of what is not: /etc has
secrets under names that nobody knows beforehand (shadow, ssh keys, sudoers, passwords of
services).  A program that needs more is given it by name: ``files = ["/etc/thing.conf:r"]``.
"""

from typing import Final

SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt")
"""What a program of the machine is made of.  A symbolic link is made again as one."""

DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
"""Of /dev, for programs."""

TUN: Final = "/dev/net/tun"
"""Where a network stack of our own gets links from."""

_ETC: Final = (
    "alternatives ld.so.cache ld.so.conf ld.so.conf.d",
    "localtime timezone locale.alias locale.conf locale.gen default/locale",
    "nsswitch.conf host.conf gai.conf protocols services rpc networks ethertypes",
    "ssl/certs ssl/openssl.cnf ca-certificates ca-certificates.conf pki/tls/certs crypto-policies",
    "debian_version os-release lsb-release redhat-release alpine-release issue",
    "bash.bashrc profile inputrc shells terminfo login.defs mime.types magic",
    "python3 python3.11 python3.12 python3.13 perl fonts",
    "iproute2 xtables libnl-3 bindresvport.blacklist",
    "qemu xen/scripts xen/xl.conf manpath.config nanorc",
)
ETC: Final = tuple(name for line in _ETC for name in line.split())
"""Of /etc, for programs: the loader, names, time, certificates (no keys), and how they look."""

ACCOUNTS: Final = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
}
"""The users of a domain; those of the machine are nobody's business in there."""
