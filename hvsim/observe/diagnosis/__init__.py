"""Who keeps whom waiting, and what helps: facts of a host in, findings out.

    facts       what is looked at: the picture of a host, its rings, its ledger, its rules
    rows        what is found: typed rows, as ``hvsim doctor --json`` prints them
    host        the facts by name: domains, devices, whose turn it is
    standing    who is stopped, paused, dead or silent
    pairs       a device whose handshake or ring has come to a stop
    rules       rules of faults that stand
    ledger      limits that bit, domains that are made again and again
    grants      pages that somebody keeps who has no use for them any more
    graph       who waits for whom, to the last of them, or round and round
    examine     all of these, each cause once, the worst first
    words       the findings for a reader

All of it is pure.  The facts are taken by ``looking`` from a running lab, and by ``remains`` from
the folder of a post-mortem.
"""
