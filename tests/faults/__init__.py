"""Rules of faults."""
