"""Show 2: a gibibyte over HTTP while the network domain dies ten times."""

from pathlib import Path

import pytest

from tests.net.tcplab import download, finish, kill_network, tcp_lab
from tests.support.labs import commands

pytestmark = [pytest.mark.soak, pytest.mark.interop]

DEATHS = 10
SIZE = 1 << 30


@pytest.mark.timeout(600)
def test_a_gibibyte_while_the_network_domain_dies_ten_times(tmp_path: Path) -> None:
    """One connection, never reset, and every byte in its place."""
    with commands() as made, tcp_lab(tmp_path, made):
        process = download(made, SIZE, "--limit-rate", "40M")
        for _ in range(DEATHS):
            kill_network(made)
        assert process.poll() is None, "the download was over before the last death"
        finish(process, SIZE, 500, made)
