"""The machine of the drivers' tests."""

from collections.abc import Iterator

import pytest

from tests.support.hv import Hypervisor


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hypervisor]:
    """A real hypervisor, shared by the tests of a module."""
    with Hypervisor(tmp_path_factory.mktemp("hv")) as made:
        yield made


@pytest.fixture
def hv(machine: Hypervisor) -> Iterator[Hypervisor]:
    """The same for one test, which makes its own domains; they are gone afterwards."""
    yield machine
    machine.end_domains()
