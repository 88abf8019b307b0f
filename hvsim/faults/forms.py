"""The forms of what a rule says: counts, shares, times, ranges; read from words, shown again.

A form's value is plain data, as it travels in a rule: a number, a text, or a list of two numbers.
Times are seconds, shares lie in 0 to 1, rates are bits a second.
"""

import re
from collections.abc import Callable
from typing import Final

from hvsim.abi.xs_wire import ERROR_NUMBERS
from hvsim.errors import HvsimError
from hvsim.printable import echoed

Value = bool | int | float | str | list[int] | list[float]

_TIME: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|min|h)")
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_RATE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(k|m|g)?bit(?:/s)?", re.IGNORECASE)
_BITS: Final = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_PER_SECOND: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)/s")
_SHARE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(%|)")
_PPM: Final = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)ppm")
_PATH: Final = re.compile(r"/?[A-Za-z0-9_@-]+(?:/[A-Za-z0-9_@-]+)*")
_DEVICE: Final = re.compile(r"[^/]+/[a-z0-9/-]+")
_PROGRAM: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*")
_MOST: Final = 1 << 48
LONGEST: Final = 30 * 86400.0
"""Seconds that a rule may speak of."""


class FormError(HvsimError):
    """What stands there is not of the form that is wanted; the text says which is."""


def read(form: str, text: str) -> Value:
    """The value of *text*.  Raises: FormError."""
    reader = FORMS.get(form)
    if reader is not None:
        return reader(text)
    choices = form.split("|")
    if text not in choices:
        raise FormError(f"{echoed(text)} is none of {', '.join(choices)}")
    return text


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 15 or not 0 < int(text) < _MOST:
        raise FormError(f"{echoed(text)} is no count, such as 3")
    return int(text)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 15 or int(text) >= _MOST:
        raise FormError(f"{echoed(text)} is no number, such as 7")
    return int(text)


def _chance(text: str) -> float:
    match = _SHARE.fullmatch(text)
    value = float(match[1]) / (100.0 if match[2] else 1.0) if match else -1.0
    if not 0.0 < value <= 1.0:
        raise FormError(f"{echoed(text)} is no share, such as 2% or 0.02")
    return value


def _time(text: str) -> float:
    match = _TIME.fullmatch(text)
    value = float(match[1]) * _SECONDS[match[2]] if match else -1.0
    if not 0.0 < value <= LONGEST:
        raise FormError(f"{echoed(text)} is no time, such as 20ms or 5s (us, ms, s, min, h)")
    return value


def _shift(text: str) -> float:
    """A time with a sign."""
    if text[:1] in ("+", "-"):
        return (-1.0 if text[0] == "-" else 1.0) * _time(text[1:])
    return _time(text)


def _times(text: str) -> list[float]:
    """A time, or a span of times: least and most."""
    least, dots, most = text.partition("..")
    bounds = [_time(least), _time(most) if dots else _time(least)]
    if bounds[0] > bounds[1]:
        raise FormError(f"{echoed(text)} ends before it begins")
    return bounds


def _range(text: str) -> list[int]:
    """A number, or a range of them, both ends included."""
    first, dots, last = text.partition("..")
    bounds = [_number(first), _number(last) if dots else _number(first)]
    if bounds[0] > bounds[1]:
        raise FormError(f"{echoed(text)} ends before it begins")
    return bounds


def _rate(text: str) -> float:
    match = _RATE.fullmatch(text)
    value = float(match[1]) * _BITS[(match[2] or "").lower()] if match else 0.0
    if not 8.0 <= value <= 1e12:
        raise FormError(f"{echoed(text)} is no rate, such as 10mbit")
    return value


def _per_second(text: str) -> float:
    match = _PER_SECOND.fullmatch(text)
    value = float(match[1]) if match else 0.0
    if not 0.0 < value <= 10_000.0:
        raise FormError(f"{echoed(text)} is no rate, such as 100/s (10000/s at most)")
    return value


def _ppm(text: str) -> float:
    match = _PPM.fullmatch(text)
    value = float(match[1]) if match else 1e9
    if not -500_000.0 <= value <= 500_000.0 or not value:
        raise FormError(f"{echoed(text)} is no drift, such as 200ppm or -50ppm (500000ppm at most)")
    return value


def _steps(text: str) -> int:
    """A number with a sign that may be left out, not 0."""
    negative, digits = text.startswith("-"), text.removeprefix("-" if text[:1] == "-" else "+")
    if not (digits.isascii() and digits.isdigit()) or not 0 < int(digits[:11]) < 1 << 31:
        raise FormError(f"{echoed(text)} is no number of steps, such as 3 or -1")
    return -int(digits[:11]) if negative else int(digits[:11])


def _text(text: str) -> str:
    if not text or len(text) > 200 or not text.isprintable():
        raise FormError("a text of 1 to 200 letters is wanted")
    return text


def _path(text: str) -> str:
    """Of the store: absolute, or relative to a domain's home."""
    if len(text) > 1024 or _PATH.fullmatch(text) is None:
        raise FormError(
            f"{echoed(text)} is no path of the store, such as /local/domain/0 or device/vbd"
        )
    return text


def _errno(text: str) -> str:
    """As it travels in an answer of the store."""
    if text not in ERROR_NUMBERS:
        raise FormError(f"{echoed(text)} is none of {', '.join(ERROR_NUMBERS)}")
    return text


def _device(text: str) -> str:
    """A device, by its domain and its name; who is meant is looked up later (`named`)."""
    if len(text) > 200 or not text.isprintable() or _DEVICE.fullmatch(text) is None:
        raise FormError(f"{echoed(text)} is no device, such as web/xvda")
    return text


def _device_in_state(text: str) -> str:
    device, at, state = text.rpartition("@")
    if not at or state not in ("1", "2", "3", "4", "5", "6"):
        raise FormError(f"{echoed(text)} is no device in a state from 1 to 6, such as web/xvda@2")
    return f"{_device(device)}@{state}"


def _program(text: str) -> str:
    """A function, by the name that a domain's ``program`` has; who is to run it finds it."""
    if len(text) > 200 or _PROGRAM.fullmatch(text) is None:
        raise FormError(f"{echoed(text)} is no function, such as my.faults:stand")
    return text


FORMS: Final[dict[str, Callable[[str], Value]]] = {
    "count": _count,
    "number": _number,
    "chance": _chance,
    "time": _time,
    "times": _times,
    "shift": _shift,
    "range": _range,
    "rate": _rate,
    "per-second": _per_second,
    "ppm": _ppm,
    "steps": _steps,
    "text": _text,
    "path": _path,
    "errno": _errno,
    "domain": _text,
    "device": _device,
    "device@state": _device_in_state,
    "program": _program,
}
"""By name; any other form is the list of its words."""

SHOWN: Final = {
    "count": "N",
    "number": "N",
    "chance": "SHARE",
    "time": "TIME",
    "times": "TIME[..TIME]",
    "shift": "[+-]TIME",
    "range": "N[..N]",
    "rate": "RATE",
    "per-second": "N/s",
    "ppm": "DRIFT",
    "steps": "[+-]N",
    "text": "TEXT",
    "path": "PATH",
    "errno": "ERRNO",
    "domain": "DOMAIN",
    "device": "DOMAIN/DEVICE",
    "device@state": "DOMAIN/DEVICE@STATE",
    "program": "MODULE:FUNCTION",
}
"""How help texts name a form."""
