"""Guest configs: what xl reads, and what it says about what it cannot read."""

import contextlib
import random

import pytest

from hvsim.toolstack.config import ConfigError, DiskConfig, parse_config, parse_disk
from hvsim.toolstack.config.settings import parse_settings
from hvsim.toolstack.config.syntax import MAX_DEPTH, parse_text
from tests.fidelity.recording import commands

GUEST = 'name="g"\nprogram="m:f"\n'


def said(text: str, source: str) -> tuple[int, list[str]]:
    """Exit code and text of xl when it parses *text* (0 when it would go on)."""
    try:
        return 0, list(parse_config(text, source).warnings)
    except ConfigError as refused:
        return refused.code, list(refused.lines)


def recorded_refusals() -> list[tuple[str, str, list[str], int]]:
    """(file, config, text, exit code) of the configs that a real xl refused while parsing."""
    found = []
    for command in commands("80-user-errors.txt"):
        if command.config is None or "xl create" not in command.line:
            continue
        file = command.line.split()[-1]
        text = [line for line in command.output if line != f"Parsing config from {file}"]
        if not any(line.startswith(("libxl:", "xc:")) for line in text):
            found.append((file, command.config, text, command.exit))
    return found


@pytest.mark.parametrize(
    ("file", "config", "text", "code"),
    recorded_refusals(),
    ids=[row[0].rpartition("/")[2] for row in recorded_refusals()],
)
def test_texts_and_codes_are_those_of_a_real_xl(
    file: str, config: str, text: list[str], code: int
) -> None:
    assert said(config, file) == (code, text)


def test_the_recording_has_the_refusals() -> None:
    assert len(recorded_refusals()) >= 9


def test_a_real_guest_config_works() -> None:
    config = parse_config(
        'name="du1"\nkernel="/root/domu/vmlinuz"\nramdisk="/root/domu/initrd.gz"\n'
        'extra="console=hvc0 myip=192.168.77.11"\nvcpus=2\nmemory=192\nmaxmem=192\n'
        'disk=["format=raw,vdev=xvda,access=rw,target=/root/domu/d1.img"]\n'
        'vif=["mac=00:16:3e:00:00:01,bridge=xenbr0"]\n'
        'on_poweroff="destroy"\non_reboot="restart"\non_crash="destroy"\n'
        'pci=["00:1f.0"]\nlocaltime=1\nserial="pty"  # keys that mean nothing here\n',
        "du1.cfg",
    )
    assert (config.name, config.memory, config.vcpus) == ("du1", 192, 2)
    assert config.cmdline == "console=hvc0 myip=192.168.77.11"
    assert config.disks == (DiskConfig("xvda", "/root/domu/d1.img"),)
    assert config.warnings == ()


def test_later_settings_and_the_command_line_count_more() -> None:
    text = f"{GUEST}memory=64\nmemory=32 ; vcpus=2\n"
    assert parse_config(text, "g.cfg").memory == 32
    config = parse_config(text, "g.cfg", ["memory=16", 'name="h"'])
    assert (config.memory, config.name, config.vcpus) == (16, "h", 2)


def test_lists_may_span_lines_and_be_added_to() -> None:
    text = f"""{GUEST}disk = [
        '/a,,xvda,w',   # first
        '/b,raw,xvdb,r',
    ]
    disk += ['/c,,xvdc']
    """
    disks = parse_config(text, "g.cfg").disks
    assert [(disk.vdev, disk.target, disk.readonly) for disk in disks] == [
        ("xvda", "/a", False),
        ("xvdb", "/b", True),
        ("xvdc", "/c", False),
    ]


def test_every_error_of_a_config_is_reported() -> None:
    code, lines = said('a=\nb="x"\nc=1\n=\n', "x.cfg")
    assert code == 1
    assert lines == [
        "x.cfg:0: config parsing error near <newline>: syntax error, unexpected NEWLINE, "
        "expecting STRING or NUMBER or '['",
        "x.cfg:4: config parsing error near `=': syntax error, unexpected '=', expecting $end or "
        "IDENT or NEWLINE or ';'",
        "Failed to parse config: Invalid argument",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('memory="many"\n', "parameter `memory' is not a valid number"),
        ("name=['a']\n", "parameter `name' is a list but should be a single value"),
    ],
)
def test_values_of_the_wrong_kind_are_warned_about(text: str, words: str) -> None:
    settings = parse_settings(text, "x.cfg")
    settings.number("memory")
    settings.text("name")
    assert settings.warnings == [f"x.cfg:1: warning: {words}"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GUEST + 'uuid="zz"\n', "Failed to parse UUID: zz"),
        (GUEST + 'on_crash="laugh"\n', 'Unknown on_crash action "laugh" specified'),
    ],
)
def test_values_without_meaning_are_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        parse_config(text, "x.cfg")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            "format=raw,vdev=xvda,access=ro,target=/a,b=c.img",
            DiskConfig("xvda", "/a,b=c.img", readonly=True),
        ),
        ("/a.img,raw,xvda,rw", DiskConfig("xvda", "/a.img")),
        ("/a.img,,xvda", DiskConfig("xvda", "/a.img")),
        ("phy:/dev/sda,xvda,w", DiskConfig("xvda", "/dev/sda")),
        ("file:/a.img,xvda,r", DiskConfig("xvda", "/a.img", readonly=True)),
        ("qcow2:/a.img,xvda,w", DiskConfig("xvda", "/a.img", format="qcow2")),
        ("/a.img,raw,hdc:cdrom,r", DiskConfig("hdc", "/a.img", readonly=True, cdrom=True)),
        ("vdev=hdc,cdrom", DiskConfig("hdc", None, "empty", readonly=True, cdrom=True)),
        (
            "vdev=xvda,backend=storage,no-discard,target=i",
            DiskConfig("xvda", "i", backend="storage", discard=False),
        ),
    ],
)
def test_disk_specifications(spec: str, expected: DiskConfig) -> None:
    assert parse_disk(spec) == expected


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("garbage", "no vdev specified in `garbage'"),
        ("vdev=xvda", "no target specified (and device not removable) in `vdev=xvda'"),
        ("vdev=xvda,colour=blue,target=/a", "unknown parameter: near `colour=b' in `"),
        ("/a,raw,xvda,w,more", "too many positional parameters: near `more' in `"),
        ("vdev=xvda,vdev=xvdb,target=/a", "vdev respecified: near `xvdb' in `"),
        ("vdev=xvda,devtype=tape,target=/a", "unknown value for type: near `devtype=tape,' in `"),
        ("vdev=xvda,backendtype=x,target=/a", "unknown value for backendtype: near `x' in `"),
        ("scsi:/a,xvda,w", "unknown deprecated disk prefix: near `scsi:' in `"),
        ("/a,raw,xvda:tape,w", "unknown deprecated type: near `tape' in `"),
    ],
)
def test_disk_errors_name_the_word_and_the_whole(spec: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_disk(spec)
    text = f"command line: config parsing error in disk specification: {words}"
    assert refused.value.lines[0].startswith(text)
    assert refused.value.lines[0].endswith(f"in `{spec}'")


def test_no_text_makes_the_parser_fail_in_another_way() -> None:
    dice = random.Random(7)
    letters = "ab1 =\n\"'[],;#+\r\t\0é"
    for _ in range(3000):
        text = "".join(dice.choice(letters) for _ in range(dice.randrange(24)))
        with contextlib.suppress(ConfigError):
            parse_config(GUEST + text, "x.cfg")
    deep = "x=" + "[" * 5000
    with pytest.raises(ConfigError):
        parse_config(GUEST + deep, "x.cfg")


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1])
def test_lists_within_lists_are_bounded(depth: int) -> None:
    text = f"a = {'[' * depth}{']' * depth}\n"
    if depth == MAX_DEPTH:
        assert parse_text(text, "x")["a"].line == 1
    else:
        with pytest.raises(ConfigError, match="memory exhausted"):
            parse_text(text, "x")


def test_an_octal_escape_adds_nothing() -> None:
    """As in xl."""
    assert parse_text("a = 'x\\101y'\n", "x")["a"].value == "xy"


def test_nodes_have_all_vcpus() -> None:
    text = 'name = "a"\nmaxvcpus = {}\nvnuma = [["pnode=0", "size=64", "vcpus=0-1"]]\n'
    assert parse_config(text.format(2), "x", program="m:f").maxvcpus == 2
    with pytest.raises(ConfigError, match="vnuma vcpus and maxvcpus= mismatch"):
        parse_config(text.format(4), "x", program="m:f")
