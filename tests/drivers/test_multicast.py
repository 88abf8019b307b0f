"""What a guest hears that filters its multicast frames."""

from hvsim.drivers.net.multicast import MAX_ADDRESSES, Multicast

ALL = b"\xff" * 6
GROUP = b"\x33\x33\x00\x00\x00\x01"
OTHER = b"\x01\x00\x5e\x00\x00\x01"
ONE = b"\x00\x16\x3e\x00\x00\x01"


def test_without_control_everything_is_heard() -> None:
    heard = Multicast()
    assert all(heard.wanted(address) for address in (ALL, GROUP, ONE, b""))
    assert not heard.change(True, GROUP)
    assert heard.change(False, GROUP), "what is not there is gone"


def test_with_control_only_what_was_asked_for_and_what_is_for_all_or_one() -> None:
    heard = Multicast(on=True)
    assert heard.change(True, GROUP)
    assert [heard.wanted(address) for address in (ALL, GROUP, OTHER, ONE, b"")] == [
        True, True, False, True, True,
    ]  # fmt: skip
    assert heard.change(False, GROUP)
    assert not heard.wanted(GROUP)


def test_addresses_are_those_of_groups_and_bounded() -> None:
    heard = Multicast(on=True)
    assert not heard.change(True, ONE)
    groups = [b"\x33\x33\x00\x00\x00" + bytes([number]) for number in range(MAX_ADDRESSES + 1)]
    assert [heard.change(True, group) for group in groups] == [True] * MAX_ADDRESSES + [False]
    assert heard.change(True, groups[0]), "it is there already"
    assert not heard.wanted(groups[-1])
