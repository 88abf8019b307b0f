"""Two domains on the real hypervisor, for the tests of what is between them."""

import os
from collections.abc import Iterator

import pytest

from hvsim.abi.memory import PAGE_SIZE
from hvsim.domain import Domain
from tests.support.hv import Hypervisor


@pytest.fixture(name="hv", scope="module")
def a_hypervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hypervisor]:
    with Hypervisor(tmp_path_factory.mktemp("hv")) as hv:
        yield hv


@pytest.fixture(name="pair")
def two_domains(hv: Hypervisor) -> Iterator[tuple[Domain, Domain]]:
    one, two = hv.domain(), hv.domain()
    yield one, two
    for domain in (one, two):
        if domain.domid in hv.domains:
            hv.destroy(domain)
            hv.domains.pop(domain.domid).close()


def granted(owner: Domain, peer: Domain, pages: int, readonly: bool = False) -> list[int]:
    """Pages of one extent, page n filled with n + 1, granted to *peer*."""
    extent = owner.memory.allocate(pages)
    for page in range(pages):
        extent.page(page)[:] = bytes([(page + 1) % 256]) * PAGE_SIZE
    gfns = [extent.gfn(page) for page in range(pages)]
    return owner.grants.grant_many(peer.domid, gfns, readonly)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def shared_mappings() -> int:
    with open("/proc/self/maps", encoding="ascii") as maps:
        return sum("-extent" in line for line in maps)
