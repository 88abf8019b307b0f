"""What a config is refused with."""


class ConfigError(Exception):
    """A config that xl would refuse.

    Attributes:
        lines: what xl prints on stderr, one text for each line.
        code: xl's exit code.
    """

    def __init__(self, *lines: str, code: int = 1) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.code = code
