"""A lab for a test module: booting one takes a third of a second."""

from collections.abc import Iterator

import pytest

from tests.hypervisor.client import Lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A real hypervisor, shared by the tests of one module; each makes its own domains."""
    with Lab() as lab:
        yield lab
