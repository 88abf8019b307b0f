"""A million malformed frames at one store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.xenstore.fuzz import attack, resident
from tests.xenstore.lone import lone_store

FRAMES = 1_000_000
SLACK = 2 << 20
"""Bytes that the allocator may keep; a leak of ten bytes a frame would be five times that."""


@pytest.mark.soak
def test_a_million_frames_leave_nothing_behind(tmp_path: Path) -> None:
    with lone_store(tmp_path, trace=False) as path:
        attack(path, 0, FRAMES // 10)
        before = resident(path)
        attack(path, 1, FRAMES)
        assert resident(path) <= before + SLACK
