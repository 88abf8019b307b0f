"""What is installed: `hvsim` and nothing beside it, the programs and labs that come with it too.

`.ci/wheel` does the whole of it, with real wheels and environments; this is the part that needs no
network.
"""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel has of Python, laid out as in site-packages."""
    place = tmp_path_factory.mktemp("built") / "lib"
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_py", "--build-lib", place],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return place


def test_there_is_nothing_but_hvsim_at_the_top(installed: Path) -> None:
    assert [entry.name for entry in installed.iterdir()] == ["hvsim"]


@pytest.mark.parametrize(
    ("top", "kind"), [("domains", "*.py"), ("configs", "*.*"), ("scenarios", "*.toml")]
)
def test_all_programs_and_labs_are_in_it(installed: Path, top: str, kind: str) -> None:
    kept = {str(file.relative_to(ROOT)) for file in (ROOT / top).rglob(kind)}
    shipped = installed / "hvsim" / "shipped"
    assert kept == {str(file.relative_to(shipped)) for file in (shipped / top).rglob(kind)}
    assert kept


def test_data_is_in_it_and_sources_in_c_are_not(installed: Path) -> None:
    assert (installed / "hvsim" / "py.typed").is_file()
    assert (installed / "hvsim" / "lab" / "schema.json").is_file()
    assert not list(installed.rglob("*.c"))


def _elsewhere(installed: Path, folder: Path, *words: str) -> str:
    """What Python says that finds hvsim in `installed`, far from the tree."""
    installation = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=installation, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_programs_have_the_same_name_as_in_the_tree(installed: Path, tmp_path: Path) -> None:
    code = "import hvsim.domain, domains.guests.idle as it; print(it.__file__)"
    expected = installed / "hvsim" / "shipped" / "domains" / "guests" / "idle.py"
    assert _elsewhere(installed, tmp_path, "-c", code).strip() == str(expected)


def test_a_lab_that_comes_with_it_needs_no_checkout(installed: Path, tmp_path: Path) -> None:
    said = _elsewhere(installed, tmp_path, "-m", "hvsim.cli", "validate", "configs/three-tier.toml")
    assert "sound: lab three-tier" in said


def test_a_lab_of_that_name_where_the_user_stands_comes_first(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "single.toml").write_text(
        '[lab]\nname = "mine"\n[[domain]]\nname = "a"\nprogram = "domains.guests.idle:main"\n'
    )
    said = _elsewhere(installed, tmp_path, "-m", "hvsim.cli", "validate", "configs/single.toml")
    assert "sound: lab mine" in said


def test_what_a_stranger_asks_of_it() -> None:
    known = metadata("hvsim")
    assert (known["License-Expression"], known["License-File"]) == ("MIT", "LICENSE")
    assert known["Author"] == "hvsim authors"
    assert known["Keywords"]
    assert "# hvsim" in known["Description"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not any(need.startswith("apsw") for need in project["dependencies"])
    for name in ("LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"):
        assert (ROOT / name).is_file()


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_each_python_that_is_tried_is_named(minor: int) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: 3.{minor}" in project["classifiers"]
    assert f"python_of 3.{minor}" in (ROOT / ".ci" / "run").read_text()
