"""hvsim: a Xen host made of ordinary Linux processes.

One process is the hypervisor, one is xenstored, every domain is one more. They speak the public
Xen ABI to each other; ARCHITECTURE.md describes how.
"""

__version__ = "0.1.0"
