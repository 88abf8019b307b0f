"""What every test run has: nothing left behind, a plain word about what was left out, and no test
that fails because the machine is busy."""

from hypothesis import HealthCheck, Phase, settings

pytest_plugins = [
    "tests.support.balance",
    "tests.support.leftovers",
    "tests.support.left_out",
    "tests.support.optional",
    "tests.support.state",
    "tests.support.warm",  # before whatever imports it
    "tests.support.dom0_lab",
    "tests.support.here",
]

settings.register_profile(
    "busy", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
)
settings.register_profile(
    "verdict",  # `make mutants` asks whether a test fails, not for the smallest example
    settings.get_profile("busy"),
    phases=(Phase.explicit, Phase.generate),
    database=None,
)
settings.load_profile("busy")
