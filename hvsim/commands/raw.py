"""Verbs with a syntax of their own still take `--lab NAME`, before their words or among them."""

from collections.abc import Sequence

from hvsim.errors import HvsimError


def split_lab(words: Sequence[str]) -> tuple[list[str], str | None]:
    """Take `--lab NAME` or `--lab=NAME` out of `words`, up to a `--`; the last one counts."""
    rest: list[str] = []
    lab: str | None = None
    left = list(words)
    while left and left[0] != "--":
        word = left.pop(0)
        if word == "--lab":
            if not left:
                raise HvsimError("--lab needs the name of a lab; `hvsim labs` lists them")
            lab = left.pop(0)
        elif word.startswith("--lab="):
            lab = word.removeprefix("--lab=")
        else:
            rest.append(word)
    return rest + left, lab
