"""The console's back half: what xenconsoled is on a real host.

The front half is ``hvsim.domain.console``, for it belongs to every domain.  Between them is the
public console ring (xen/io/console.h).

    ring.py     the daemon's end of a ring page: pure
    log.py      a domain's output on disk, bounded
    terminal.py the pty that ``xl console`` opens
    back.py     one console, from its ring to its pty
    daemon.py   one console for each domain, found through the store
"""
