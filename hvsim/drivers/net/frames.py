"""Who passes a domain's frames: Linux, or the domain itself."""

from collections.abc import Mapping
from typing import Any


def own_frames(args: Mapping[str, Any]) -> bool:
    """Whether a domain with these args passes frames itself: it has no network stack of Linux'."""
    return bool(args.get("frames") == "own")
