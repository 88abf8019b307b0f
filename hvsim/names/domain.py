"""Names of domains, and the words that mean dom0."""

from typing import Final

DOM0: Final = "Domain-0"
MAX: Final = 128
"""Characters."""
_DOM0_WORDS: Final = ("", "0", DOM0)


def is_dom0(text: str | None) -> bool:
    """Whether *text*, as in ``backend=``, means dom0; nothing at all does as well."""
    return text is None or text in _DOM0_WORDS


def unfit(text: str) -> str | None:
    """Why no domain can be called *text*, None when one can.

    Names end up in the values of the store, in names of files and in messages.
    """
    if not text:
        return "the name is empty"
    if len(text) > MAX:
        return f"the name has {len(text)} characters, more than {MAX}"
    if not text.isprintable():
        return f"the name {text!r} has characters that cannot be printed"
    if "/" in text or text in (".", ".."):
        return f"the name {text!r} cannot be that of a file"
    return None
