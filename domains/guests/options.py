"""Words of a guest's command line (``extra = "rate=50 rows=4"``) as options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from hvsim.domain import Domain

T = TypeVar("T", int, float, str)


def words(dom: Domain) -> dict[str, str]:
    """Every ``key=value`` word of the command line, then the plain values of ``dom.args``.

    The latter win. A word without ``=`` gets the value ``"1"``.
    """
    found: dict[str, str] = {}
    for word in str(dom.start_info.get("cmd_line") or "").split():
        key, _, value = word.partition("=")
        found[key] = value or "1"
    found.update(
        {key: str(value) for key, value in dom.args.items() if isinstance(value, str | int | float)}
    )
    return found


def option(found: Mapping[str, str], name: str, default: T) -> T:
    """The option of that name as the type of its default.

    Raises: ValueError that names the option and the bad word.
    """
    if name not in found:
        return default
    try:
        return type(default)(found[name])
    except ValueError:
        kind = type(default).__name__
        raise ValueError(f"option {name}={found[name]!r} is not {kind}") from None
