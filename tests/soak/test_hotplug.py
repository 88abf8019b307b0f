"""Show 6: a thousand interfaces come and go, and nothing of any of them is left."""

from pathlib import Path

import pytest

from tests.net.hotplug import churn, hotplug_lab


@pytest.mark.soak
def test_a_thousand_interfaces_come_and_go(tmp_path: Path) -> None:
    with hotplug_lab(tmp_path) as lab:
        churn(lab, 1000)
