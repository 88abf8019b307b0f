"""Random texts: what is told of them, and what they say, is the same as in xl's own library.

Seen red with the newline behind a lexical error taken away with it, with the silence after an error
one token shorter, and with white space before a positional word taken into it.
"""

import json
import random
import subprocess
import sys
from typing import Any

import pytest

from hvsim.toolstack.config import ConfigError, parse_disk
from hvsim.toolstack.config.syntax import FAILED, parse_text
from tests.config.libxlutil import LIBRARIES
from tests.support import optional
from tests.support.labs import ROOT

pytestmark = pytest.mark.interop

CONFIGS = 4000
DISKS = 4000
KEYS = ["a", "b", "c"]
PIECES = (
    *("a", "b", "c", "=", "=", "=", "+=", '"x"', "'y'", "1", "0x1f", "010", "[", "]", ",", "\n"),
    *("\n", "\n", ";", " ", "\t", "#c", "#", "$", "(", "{", "-", ":", ".", "_", "A", '"', "'"),
    *("\\", "\\n", '"\\q"', '"a\\"b"', '"\\x41"', '"\\112"', "\r", "\x0b", "ü", "a = ", "b=["),
    *('"q",', "\n\n", "True", "%"),
)
VALUES = ("1", '"x"', "[1,2]", '[ "a",\n "b" ]', '[[1],["x",],]', "[]")
WORDS = (
    *("/a", "raw", "xvda", "rw", "ro", "r", "w", "", "qcow2", "cdrom", "discard", "no-discard"),
    *("direct-io-safe", "format=raw", "format=", "format=zz", "vdev=xvdb", "vdev=", "access=ro"),
    *("access=", "access=x", "devtype=cdrom", "devtype=disk", "devtype=q", "backend=d"),
    *("backend=", "backendtype=phy", "backendtype=q", "script=s", "specification=xen", "foo=1"),
    *("target=/b", "target=", "foo=22", "Foo=1", "hdc:cdrom", "hda:disk", "hda:q", "a=b"),
    *("untrusted", "trusted", "a:b", "colo", "hidden-disk=z", "colo-port=x"),
)
PREFIXES = ("phy:", "raw:", "qcow2:", "vhd:", "tap:", "aio:", "nbd:", "foo:", "PHY:", "x-y:")


def answers(rows: list[list[Any]]) -> list[Any]:
    """What xl's library says of each row."""
    for name in LIBRARIES:
        optional.library(name)
    done = subprocess.run(
        [sys.executable, "-m", "tests.config.libxlutil"],
        input="".join(json.dumps(row) + "\n" for row in rows),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def some_config(dice: random.Random) -> str:
    """Nonsense, or a config with a mistake here and there."""
    if dice.random() < 0.5:
        return "".join(dice.choice(PIECES) for _ in range(dice.randrange(1, 25)))
    text = ""
    for _ in range(dice.randrange(1, 7)):
        line = dice.choice("abc") + dice.choice(("=", " = ", " += ", "+=")) + dice.choice(VALUES)
        line += dice.choice(("\n", ";", " # c\n", "\n\n"))
        if dice.random() < 0.35:
            at = dice.randrange(len(line) + 1)
            line = line[:at] + dice.choice(PIECES) + line[at + dice.randrange(2) :]
        text += line
    return text


def some_disk(dice: random.Random) -> list[str]:
    """The words of a disk in any order, as one text or two."""
    words = []
    for _ in range(dice.randrange(1, 7)):
        word = dice.choice(WORDS)
        word = dice.choice(PREFIXES) + word if dice.random() < 0.12 else word
        word = dice.choice(" \t") + word if dice.random() < 0.1 else word
        word += " " if dice.random() < 0.05 else ""
        if dice.random() < 0.04 and word:
            at = dice.randrange(len(word))
            word = word[:at] + dice.choice(":=, \txA1-_") + word[at:]
        words.append(word)
    if dice.random() < 0.1 and len(words) > 2:
        return [",".join(words[:2]), ",".join(words[2:])]
    return [",".join(words)]


def config_of_ours(text: str) -> list[Any]:
    try:
        found = parse_text(text, "c")
    except ConfigError as refused:
        told = [line for line in refused.lines if line != FAILED]
        return [22, "".join(f"{line}\n" for line in told), {}]
    return [0, "", {key: one.value for key, one in found.items() if key in KEYS}]


def disk_of_ours(specs: list[str]) -> list[Any]:
    try:
        disk = parse_disk(specs, "c")
    except ConfigError as refused:
        return [22, "".join(f"{line}\n" for line in refused.lines), {}]
    return [
        0,
        "",
        {
            "vdev": disk.vdev,
            "pdev_path": disk.target,
            "script": disk.script,
            "backend": disk.backend,
            "format": disk.format,
            "backendtype": disk.backendtype,
            "specification": disk.specification,
            "readwrite": int(not disk.readonly),
            "cdrom": int(disk.cdrom),
            "removable": int(disk.cdrom),
            "direct_io_safe": disk.direct_io_safe,
            "discard": disk.discard,
        },
    ]


def test_configs() -> None:
    dice = random.Random(8)
    texts = [some_config(dice) for _ in range(CONFIGS)]
    real = answers([["config", text, KEYS] for text in texts])
    wrong = [
        (text, theirs, config_of_ours(text))
        for text, theirs in zip(texts, real, strict=True)
        if theirs != config_of_ours(text)
    ]
    assert wrong == []


def test_disks() -> None:
    dice = random.Random(8)
    disks = [some_disk(dice) for _ in range(DISKS)]
    real = answers([["disk", specs] for specs in disks])
    wrong = [
        (specs, theirs, disk_of_ours(specs))
        for specs, theirs in zip(disks, real, strict=True)
        if theirs != disk_of_ours(specs)
    ]
    assert wrong == []
