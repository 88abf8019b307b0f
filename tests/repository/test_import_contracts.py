"""The arrows between the rooms point down only, and the check would see one that does not."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]


def lint(root: Path, config: Path) -> subprocess.CompletedProcess[str]:
    """import-linter over the packages in ``root`` with the contracts of ``config``."""
    return subprocess.run(
        [*LINT, "--config", config, "--no-cache"],
        cwd=root, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_contracts_are_kept() -> None:
    result = lint(ROOT, ROOT / "pyproject.toml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def test_an_arrow_that_points_up_is_seen(tmp_path: Path) -> None:
    for package in ("abi", "domain", "hypervisor"):
        (tmp_path / "hvsim" / package).mkdir(parents=True)
        (tmp_path / "hvsim" / package / "__init__.py").touch()
    (tmp_path / "hvsim" / "__init__.py").touch()
    (tmp_path / "hvsim" / "hypervisor" / "core.py").write_text("import hvsim.domain\n")
    config = tmp_path / "contracts.toml"
    config.write_text(
        '[tool.importlinter]\nroot_packages = ["hvsim"]\n'
        '[[tool.importlinter.contracts]]\nname = "abi only"\ntype = "forbidden"\n'
        'source_modules = ["hvsim.hypervisor"]\nforbidden_modules = ["hvsim.domain"]\n'
    )
    result = lint(tmp_path, config)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "hvsim.hypervisor.core -> hvsim.domain" in result.stdout
