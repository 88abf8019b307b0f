"""Files that something long is to be told in: who cannot write there learns it before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvsim.commands.common import writable
from hvsim.errors import HvsimError


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none/it", "there is no directory"),
        ("folder", "a directory; name a file in it"),
        # Red when only what is there is looked at: a traceback, or nothing before the run was over.
        ("n" * 300, "File name too long; name another file"),
        ("circle", "Too many levels of symbolic links; name another file"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_file_that_cannot_be_written(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(HvsimError, match=said):
        writable([None, str(tmp_path / "new"), str(tmp_path / name)])


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "it"
    file.write_text("before", encoding="utf-8")
    writable([str(file), str(tmp_path / "new"), ""])
    assert [one.name for one in tmp_path.iterdir()] == ["it"]
    assert file.read_text(encoding="utf-8") == "before"
