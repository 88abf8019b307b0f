"""What both halves of every split driver stand on.  The two columns mirror each other.

    share.py       frames granted, ports offered          attach.py      rings mapped, ports bound
    pool.py        pages granted one by one               pages.py       a peer's pages, mapped
    deferred.py    grants that a peer still maps          late_eoi.py    a peer that rings in vain
    handshake.py   what each half does when the other has moved, and how a ring is refused
    numbers.py     numbers of the store, as from a stranger
    halt_poll.py   looking at a ring before going to sleep
    statistics.py  figures, told when the toolstack asks
    devd.py        the part of ``xl devd`` that every driver domain needs

A driver is a `Front` or a `Back` of ``hvsim.domain.xenbus.driver``, and no more to the bus.
"""
