"""A message that came as a map is read by its fields, and a wrong one is named."""

from collections.abc import Callable

import pytest

from hvsim.wire.fields import Fields, WrongMessage

READS: list[tuple[str, Callable[[Fields], object], object, object, list[object]]] = [
    ("text", lambda f: f.text("x"), "a", "a", [None, 5, b"a", ["a"]]),
    ("optional", lambda f: f.optional("x"), None, None, [5, ["a"]]),
    ("number", lambda f: f.number("x"), -2, -2, [None, True, "2", 2.0]),
    ("bound", lambda f: f.number("x", least=2), 2, 2, [1, -2]),
    ("items", lambda f: f.items("x"), [1, "a"], [1, "a"], ["a", 5, {"a": 1}]),
    ("texts", lambda f: f.texts("x"), ["a", "b"], ("a", "b"), ["ab", ["a", 1], {"a": "b"}]),
    ("table", lambda f: f.table("x"), {"a": 1}, {"a": 1}, [["a"], {1: "a"}]),
    ("names", lambda f: f.names("x"), {"a": "b"}, {"a": "b"}, [{"a": 1}, {1: "a"}, "a"]),
]


@pytest.mark.parametrize(
    ("read", "good", "value", "bad"), [r[1:] for r in READS], ids=[r[0] for r in READS]
)
def test_a_field_is_what_is_wanted_or_named(
    read: Callable[[Fields], object], good: object, value: object, bad: list[object]
) -> None:
    assert read(Fields({"x": good}, "it")) == value
    for wrong in bad:
        with pytest.raises(WrongMessage, match=r"^x: a .* is wanted"):
            read(Fields({"x": wrong}, "it"))


def test_a_field_that_is_absent_or_none_takes_its_default() -> None:
    for fields in (Fields({}, "it"), Fields({"x": None}, "it")):
        assert fields.text("x", "a") == "a"
        assert fields.number("x", 7, 2) == 7
        assert fields.texts("x") == ()
        assert fields.items("x") == []
        assert fields.table("x") == {}
        assert fields.names("x") == {}


@pytest.mark.parametrize("raw", [None, [], "a", 5])
def test_what_is_no_map_is_named(raw: object) -> None:
    with pytest.raises(WrongMessage, match=r"^the spec: a map is wanted"):
        Fields(raw, "the spec")
