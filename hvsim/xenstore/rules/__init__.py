"""The rules of the store, without I/O: tree, permissions, quotas, watches, transactions."""
