"""What every test run has: nothing left behind, a plain word about what was left out, and no test
that fails because the machine is busy."""

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.support.balance",
    "tests.support.leftovers",
    "tests.support.left_out",
    "tests.support.optional",
    "tests.support.state",
    "tests.support.warm",  # before whatever imports it
    "tests.support.dom0_lab",
]

settings.register_profile(
    "busy", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
)
settings.load_profile("busy")
