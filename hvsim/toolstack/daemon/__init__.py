"""The toolstack as a process of dom0: its wire, its store, its hypercalls, its waits."""
