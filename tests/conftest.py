"""What every test run has: nothing left behind, and a plain word about what was left out."""

pytest_plugins = ["tests.support.leftovers", "tests.support.left_out", "tests.support.optional"]
