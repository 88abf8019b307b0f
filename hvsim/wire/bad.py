"""What is said of a message that cannot be followed."""

from typing import Final


class BadMessage(ValueError):
    """A message that cannot be followed; the text names the field and what is wrong with it.

    Attributes:
        what: what is wrong.
        place: the field ("dom0.processes[2].files"), "" for the message as a whole.
    """

    def __init__(self, what: str, place: str = "") -> None:
        super().__init__(f"{place}: {what}" if place else what)
        self.what: Final = what
        self.place: Final = place
