"""The syntax of configs and of the devices in them."""

# ruff: noqa: E501 - texts stand here as they stand in their files

from typing import Final

from tests.mutants.fault import Fault, faults

_ROOM = "hvsim/toolstack/config"
_XL = (
    "tests/toolstack/test_config.py",
    "tests/toolstack/test_vif.py",
    "tests/config/test_against_xl.py",
)

FAULTS: Final[list[Fault]] = [
    *faults(
        f"{_ROOM}/cpulist.py",
        _XL,
        (
            "a range that goes down",
            '            if high < low:\n                raise ConfigError(f"Invalid pcpu range: {part}.")\n',
            "",
        ),
        ("the last of a range is left out", "min(high + 1, width(cpus))", "min(high, width(cpus))"),
        (
            "what is excluded is named",
            "found - named if excluded or late else found | named",
            "found | named",
        ),
    ),
    *faults(
        f"{_ROOM}/rate.py",
        _XL,
        ("bits are bytes", "        rate_bytes //= 8\n", "        pass\n"),
        ("kilo is 1024", '"K": 1000,', '"K": 1024,'),
        ("a rate has no end", "if not 0 < number <= _UINT32:", "if not 0 < number:"),
        (
            "the interval is not counted",
            "return rate_bytes * microseconds // 1_000_000, microseconds",
            "return rate_bytes, microseconds",
        ),
    ),
    *faults(
        f"{_ROOM}/vif.py",
        _XL,
        (
            "blanks before a word count",
            '[word.lstrip(" ") for word in spec.split(",") if word]',
            '[word for word in spec.split(",") if word]',
        ),
        (
            "each vif is trusted",
            'self.found["trusted"] = key == "trusted"',
            'self.found["trusted"] = True',
        ),
        (
            "a mistake wipes an address out",
            'known = mac.LENGTH if whole else len(address.rstrip(b"\\0"))',
            "known = mac.LENGTH",
        ),
        ("a number of 64 bits", "(1 << 64) - 1) & 0xFFFFFFFF", "(1 << 64) - 1)"),
        ("any type of a vif", 'if value not in ("vif", "ioemu"):', "if False:"),
    ),
    *faults(
        f"{_ROOM}/disk.py",
        _XL,
        (
            "a CD may be written",
            "        if self.cdrom:\n            self.readonly = True\n",
            "        if self.cdrom:\n",
        ),
        (
            "a disk needs no vdev",
            '        if "vdev" not in self.strings:\n            self.fail("no vdev specified")\n        elif',
            "        if",
        ),
        (
            "an access is not looked at",
            "if value not in (*READ_WRITE, *READ_ONLY, SHARED):",
            "if False:",
        ),
        (
            "a format twice",
            "elif self.choices.setdefault(key, chosen) != chosen:",
            "elif self.choices.setdefault(key, chosen) is None:",
        ),
        (
            "a target twice",
            '        if self.strings.get(key):\n            self.fail(f"{key} respecified", value)\n        else:\n            self.strings[key] = value',
            "        self.strings[key] = value",
        ),
    ),
    *faults(
        f"{_ROOM}/syntax.py",
        _XL,
        ("an error is told again at once", "_SILENCE: Final = 3", "_SILENCE: Final = 2"),
        (
            "a list more within lists",
            "        if depth >= MAX_DEPTH:\n",
            "        if depth > MAX_DEPTH:\n",
        ),
        (
            "each error of a line is told",
            "        if line > self._lexical_line:\n",
            "        if True:\n",
        ),
        ("what is added comes instead", "if operator == ADD and old is not None:", "if False:"),
        (
            "a text is added to a list",
            "            if isinstance(old.value, list) != isinstance(value, list):\n",
            "            if False:\n",
        ),
        ("Python is no Python", "if self.errors and self._lexer.python:", "if False:"),
    ),
    *faults(
        f"{_ROOM}/affinity.py",
        _XL,
        (
            "nowhere is a place",
            "        if not found:\n            raise ConfigError",
            "        if False:\n            raise ConfigError",
        ),
        ("lists for vCPUs that are none", "settings.texts(key)[:vcpus]", "settings.texts(key)"),
        ("a node has bytes of memory", "_number(value) * 1024", "_number(value)"),
        (
            "vCPUs that no node has",
            "if bounded and max(covered, default=-1) + 1 != (maxvcpus):",
            "if False:",
        ),
        (
            "a soft wish leaves NUMA alone",
            'if rows is not None or kind == "soft":',
            "if rows is not None:",
        ),
    ),
    *faults(
        f"{_ROOM}/numbers.py",
        _XL,
        (
            "a hexadecimal number is read as decimal",
            "from_digits(hexadecimal, 16)",
            'from_digits("0")',
        ),
        (
            "a sign is lost",
            'return (-number if sign == "-" else number), match.end()',
            "return number, match.end()",
        ),
    ),
    *faults(
        f"{_ROOM}/lexer.py",
        _XL,
        ("lines are not counted", 'line += kind == "NEWLINE"', "pass"),
        (
            "an octal escape adds a letter",
            "at = match.end()  # as in xl",
            "value.append(match.group()); at = match.end()  # as in xl",
        ),
        (
            "a line end is nonsense as well",
            '        if rest == "\\n":  # it is a token yet',
            "        if False:  # it is a token yet",
        ),
        ("blanks are part of a mistake", '    text = text.rstrip("\\t ")\n', ""),
        ("a backslash is a letter", '            if char != "\\\\":\n', "            if True:\n"),
    ),
]
