"""What a config is refused with."""

from collections.abc import Sequence


class ConfigError(Exception):
    """A config that xl would refuse.

    Attributes:
        faults: what is wrong, one text for each line.
        warnings: what was said before that and would not have stopped it.
        code: xl's exit code.
        unsaid: what is wrong where xl ends without a word.
    """

    def __init__(
        self, *faults: str, code: int = 1, warnings: Sequence[str] = (), unsaid: str = ""
    ) -> None:
        super().__init__("\n".join(faults) or unsaid)
        self.unsaid = unsaid
        self.faults = faults
        self.warnings = tuple(warnings)
        self.code = code

    @property
    def lines(self) -> tuple[str, ...]:
        """What xl prints on stderr, in its order."""
        return self.warnings + self.faults
