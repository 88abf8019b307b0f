"""One lab for the tests of `hvsim exec` that leave it as it was."""

from collections.abc import Iterator

import pytest

from tests.support.labs import Commands, commands

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
    file = tmp_path_factory.mktemp("lab") / "exec.toml"
    file.write_text(LAB, encoding="utf-8")
    with commands() as made:
        made.ok("up", "--quiet", str(file))
        yield made
        assert "nothing of it is left" in made.ok("down")
