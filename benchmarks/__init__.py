"""Benchmarks: every row is a ratio against a reference run in the same minute."""
