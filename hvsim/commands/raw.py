"""Verbs with a syntax of their own still take `--lab NAME` in front of their words."""

from collections.abc import Sequence

from hvsim.lab.problems import HvsimError


def split_lab(words: Sequence[str], lab: str | None) -> tuple[list[str], str | None]:
    """Take `--lab NAME` or `--lab=NAME` off the front of `words`."""
    rest = list(words)
    if rest and rest[0] == "--lab":
        if len(rest) < 2:
            raise HvsimError("--lab needs the name of a lab; `hvsim labs` lists them")
        return rest[2:], rest[1]
    if rest and rest[0].startswith("--lab="):
        return rest[1:], rest[0].removeprefix("--lab=")
    return rest, lab
