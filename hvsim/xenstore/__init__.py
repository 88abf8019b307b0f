"""xenstore: the tree of strings that domains meet at.

Each room stands on those below it alone:

    daemon       the process: bytes of rings and sockets, live update, reports; all of the I/O
    operations   what each XS_ request does to a session and the store
    journal      what outlives the daemon
    handshake    what the halves of devices write, and whether they may
    rules        tree, permissions, transactions, watches, quotas, sessions: plain classes

Clients are in ``hvsim.xs``.
"""
