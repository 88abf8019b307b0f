"""Lines of a TOML text: found for every shape that a lab file has."""

from hvsim.lab.locate import Locator

TEXT = '''# comment
[lab]
name = "x"   # name = "y"

[[domain]]
name = "a"
disk = [
  "target=b.img",   # [[domain]]
  "target=c.img",
]
extra = """
name = "inside"
"""
[domain.overrides]
memory = 3
[[domain]]
"name" = "b"
args = { rate = 5 }
'''


def test_tables_and_keys() -> None:
    lines = Locator(TEXT)
    assert lines.line(("lab",)) == 2
    assert lines.line(("lab", "name")) == 3
    assert lines.line(("domain", 0)) == 5
    assert lines.line(("domain", 0, "disk")) == 7
    assert lines.line(("domain", 0, "name")) == 6
    assert lines.line(("domain", 0, "overrides", "memory")) == 15
    assert lines.line(("domain", 1)) == 16
    assert lines.line(("domain", 1, "name")) == 17


def test_the_nearest_thing_around_serves_for_what_is_not_there() -> None:
    lines = Locator(TEXT)
    assert lines.line(("domain", 0, "disk", 1)) == 7
    assert lines.line(("domain", 1, "args", "rate")) == 18
    assert lines.line(("domain", 1, "restart")) == 16
    assert lines.line(("nothing",)) == 0
