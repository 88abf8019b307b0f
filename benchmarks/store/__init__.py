"""The store against Xen's own: the daemons, one client for all of them, and the loads."""
