"""Ten bugs that split drivers, stores and guests really had, each planted by tests alone.

A module plants one: its `plant` is an injector (``own="tests.explore.planted.NAME:plant"`` in a
rule), which takes the place of a method in the process that the rule is about, and puts it back
when the rule goes.  No class of the product knows of it.  Beside each stands a scenario of the same
name, NAME.toml, in which the bug can show; without the rule it holds with every seed.
"""
