"""xenstore: the tree of strings that domains meet at; daemon, rules and clients.

Pure rules: ``paths``, ``permissions``, ``tree``, ``transaction``, ``watches``, ``quota``, ``wire``,
``operations``, ``connection``.  I/O: ``server`` (the tools' Unix socket), ``daemon`` (rings).
Clients: ``client`` (blocking), ``aio`` (asynchronous).
"""
