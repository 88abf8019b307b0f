"""The C library that real programs are run with (LD_PRELOAD): nodes.h is where to begin."""

from pathlib import Path

__all__ = ["node_library"]


def node_library() -> Path | None:
    """The shared library that stands in for Xen's device nodes, or None where it was not built."""
    path = Path(__file__).parent.with_name("libhvsim-nodes.so")
    return path if path.exists() else None
