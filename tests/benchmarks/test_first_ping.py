"""The echo request of the row about the first ping."""

import struct

import pytest

from benchmarks.net.first_ping import ECHO, IDENTIFIER, echo


@pytest.mark.parametrize("number", [1, 255, 0xB7AA, 65535, 65537])
def test_the_checksum_makes_the_words_add_up(number: int) -> None:
    """RFC 1071: the sum in ones' complement of all words, the checksum among them, is all ones.
    Red without the carry."""
    words = struct.unpack("!4H", echo(number))
    total = sum(words)
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF
    assert (words[0], words[2], words[3]) == (ECHO << 8, IDENTIFIER, number & 0xFFFF)
