"""One lab for the tests of `hvsim exec` that leave it as it was."""

from collections.abc import Iterator

import pytest

from tests.support.labs import Commands, standing

LAB = """
[lab]
name = "exec"
[[domain]]
name = "one"
memory = 16
program = "domains.guests.idle:main"
[[domain]]
name = "two"
memory = 16
program = "domains.guests.idle:main"
"""


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """A lab with the domains "one" and "two", which idle."""
    with standing(tmp_path_factory.mktemp("lab") / "exec.toml", LAB) as made:
        yield made
