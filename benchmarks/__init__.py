"""Benchmarks: every row is a ratio against a reference that was run in the same minute."""
