"""What a network domain says to options that it cannot follow."""

from pathlib import Path

import pytest

from tests.support.labs import commands

LAB = """
[lab]
name = "refused"
[[domain]]
name = "network"
memory = 32
role = "driver"
program = "domains.network:main"
extra = "{extra}"
"""


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("nat=1", "nat=1: a network domain has no way out of the lab"),
        ("host_interface=eth1", "host_interface=eth1: a network domain does not take interfaces"),
        ("bridge=a-name-of-sixteen", "'a-name-of-sixteen' is no name for a link"),
        ("address=10.0.0.300/24", "'10.0.0.300/24' does not appear to be"),
    ],
)
def test_one_sentence_and_no_traceback(tmp_path: Path, extra: str, said: str) -> None:
    file = tmp_path / "refused.toml"
    file.write_text(LAB.format(extra=extra), encoding="utf-8")
    with commands() as lab:
        done = lab.run("up", "--quiet", str(file))
        assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
