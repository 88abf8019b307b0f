"""The store against Xen's own: the daemons, and a client that furnishes them."""
