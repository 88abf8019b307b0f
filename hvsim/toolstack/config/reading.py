"""What a config means: libxl_domain_config, from the settings, in xl's order.

The order decides which of several faults is told, and behind which warnings.  Source: xl.cfg(5);
texts and the rest from the installed xl, which tests/config compares with this.
"""

from collections.abc import Callable
from typing import Final

from hvsim.toolstack.config import affinity, device_keys, guest, hvm, passing
from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.keys import BY_NAME, KEYS, Key
from hvsim.toolstack.config.meaning import Meaning

SPECIALS: Final[dict[str, Callable[[Meaning], None]]] = {
    **guest.SPECIALS,
    **device_keys.SPECIALS,
    **affinity.SPECIALS,
    **passing.SPECIALS,
    **hvm.SPECIALS,
}
assert SPECIALS.keys() <= BY_NAME.keys()


def read(meaning: Meaning) -> None:
    """Read every key that counts for this type of guest.  Raises: ConfigError."""
    try:
        guest.settle_type(meaning)
        said = meaning.settings.values
        for key in KEYS:
            # A special key may be about several, or about what was not said.
            if meaning.kind in key.guests and (key.kind == "special" or key.name in said):
                _read(meaning, key)
    except ConfigError as error:
        before = (*meaning.settings.warnings, *error.warnings)
        raise ConfigError(
            *error.faults, code=error.code, warnings=before, unsaid=error.unsaid
        ) from None


def _read(meaning: Meaning, key: Key) -> None:
    if key.kind == "special":
        special = SPECIALS.get(key.name)
        if special is not None:
            special(meaning)
        return
    value: object
    if key.kind == "text":
        value = meaning.settings.text(key.name)
    elif key.kind == "flag":
        flag = meaning.settings.flag(key.name)
        value = None if flag is None else str(flag)
    else:
        number = meaning.settings.number(key.name)
        value = None if number is None else (number * key.scale) % (1 << key.width)
        if number is not None and key.default is not None:
            value = None if number == key.default else value
    if value is not None:
        meaning.put(key.path, value)
