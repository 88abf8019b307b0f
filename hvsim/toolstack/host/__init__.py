"""What every part of the toolstack stands on: its view of the host, hypercalls, store, waits."""
