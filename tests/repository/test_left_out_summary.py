"""`make test` ends with what was left out and why, and stays silent where nothing is to say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAD = "import pytest\n"
SKIPPED = HEAD + (
    "@pytest.mark.interop\n@pytest.mark.skip(reason='xenstore-utils is not installed')\n"
    "def test_tool() -> None:\n    pass\n"
)
RAN = HEAD + "@pytest.mark.interop\ndef test_tool() -> None:\n    pass\n"
OTHER = HEAD + "@pytest.mark.skip(reason='elsewhere')\ndef test_other() -> None:\n    pass\n"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (SKIPPED, ["0 ran, 1 left out", "left out: 1 in test_it.py: xenstore-utils is not"]),
        (RAN, ["1 ran, 0 left out"]),
        (OTHER, []),
    ],
)
def test_summary(tmp_path: Path, source: str, expected: list[str]) -> None:
    (tmp_path / "test_it.py").write_text(source)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = interop: what a machine may lack\n")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.left_out",
         "-p", "no:cacheprovider", "--rootdir", tmp_path, "-c", tmp_path / "pytest.ini", tmp_path],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    for line in expected:
        assert line in result.stdout
    assert ("what a machine may lack" in result.stdout) is bool(expected)
