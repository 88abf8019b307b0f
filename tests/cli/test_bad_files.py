"""Whatever stands where a lab file, a guest's config, an image or a file of a domain is meant: it
is refused in sentences that name place and remedy, at once, and with exit code 1.

Seen red: with ``Path.read_text`` in place of ``textfile.read`` (a FIFO hangs, /dev/zero as well),
without ``values.faults`` (NULs and large numbers end in exit 70), without the limit of a line in
``Locator`` (a line of blanks takes minutes).
"""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

import hvsim.cli
from hvsim.commands.capture import _output
from hvsim.errors import HvsimError

LIMIT = 20
"""Seconds that no refusal needs; the alarm makes a hang a failure."""
GUEST = 'name = "x"\nmemory = 16\nprogram = "domains.guests.idle:main"\n'
DOMAIN = f"[[domain]]\n{GUEST}"

Make = Callable[[Path], object]


@contextmanager
def alarm() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"it hangs: {frame}")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HVSIM_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("HVSIM_LAB", raising=False)
    return tmp_path


def run(*words: str) -> int:
    """One command, in this process; its exit code."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        with alarm():
            return hvsim.cli.main(words)
    except SystemExit as leave:
        return int(leave.code or 0)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def refused(
    capfd: pytest.CaptureFixture[str], words: tuple[str, ...], text: str, code: int = 1
) -> None:
    status = run(*words)
    out, err = capfd.readouterr()
    assert text in err, err[-2000:]
    assert status == code, err
    assert "Traceback" not in err + out
    assert out == ""
    assert len(err) < 20_000


def fifo(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path.name)


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def holds(data: str | bytes) -> Make:
    return lambda path: path.write_bytes(data.encode() if isinstance(data, str) else data)


NO_TEXT: dict[str, tuple[Make, str]] = {
    "fifo": (fifo, "is a FIFO, and no file"),
    "directory": (Path.mkdir, "is a directory"),
    "zero": (zero, "is a device, and no file"),
    "socket": (a_socket, "cannot be read: No such device or address"),
    "loop": (loop, "cannot be read: Too many levels of symbolic links"),
    "large": (holds(b"#" * (2 << 20)), "is larger than 1 MiB"),
    "nul": (holds(b"a = 1\n\0"), "holds a NUL character (line 2): is it a text?"),
    "utf-16": (holds("a = 1".encode("utf-16")), "is not UTF-8 text (line 1)"),
}
"""What no text is, how it is made, and what is said of it."""


@pytest.mark.parametrize(("make", "text"), NO_TEXT.values(), ids=list(NO_TEXT))
def test_no_lab_file(
    folder: Path, capfd: pytest.CaptureFixture[str], make: Make, text: str
) -> None:
    make(folder / "lab.toml")
    for words in (("validate", "lab.toml"), ("up", "lab.toml"), ("demo", "--lab", "lab.toml")):
        refused(capfd, words, f"hvsim: lab.toml: {text}; give the path of a lab file")
    assert not (folder / "run").exists()


@pytest.mark.parametrize(("make", "text"), NO_TEXT.values(), ids=list(NO_TEXT))
def test_no_guest_config(
    folder: Path, capfd: pytest.CaptureFixture[str], make: Make, text: str
) -> None:
    make(folder / "guest.cfg")
    (folder / "lab.toml").write_text('[[domain]]\nconfig = "guest.cfg"\n')
    said = f"lab.toml:2: domain 'guest.cfg', config: {folder}/guest.cfg: {text}; correct the path"
    refused(capfd, ("validate", "lab.toml"), said)


def nested(opening: str, closing: str, depth: int) -> str:
    return f"{DOMAIN}args = {{ a = {opening * depth}1{closing * depth} }}\n"


TEXTS: dict[str, tuple[str, str]] = {
    "deep lists": (
        nested("[", "]", 20),
        "lab.toml:5: domain 'x', args: is nested deeper than 16",
    ),
    "lists without end": (nested("[", "]", 5000), "lab.toml: not TOML: nested too deeply"),
    "deep tables": (nested("{ a = ", " }", 20), "domain 'x', args: is nested deeper than 16"),
    "tables without end": (nested("{a=", "}", 5000), "lab.toml: not TOML: nested too deeply"),
    "deep keys": (f"{DOMAIN}args.{'a.' * 5000}a = 1\n", "domain 'x', args: is nested deeper"),
    "deep headers": (f"[{'a.' * 5000}a]\n", "is nested deeper than 16"),
    "a large number": (f"{DOMAIN}args = {{ a = {2**64} }}\n", "args, a: is too large a number"),
    "a number of 5000 digits": (
        f"{DOMAIN}vcpus = {'9' * 5000}\n",
        "lab.toml: not TOML: a number has",
    ),
    "a date": (f"{DOMAIN}args = {{ a = 2026-01-01 }}\n", "args, a: is a date or a time; write it"),
    "tables": ("[[domain]]\n" * 5000, "domain: 5000 tables are too many; 1000 is the most"),
    "problems": ("[[domain]]\n" * 900, "... and 800 more"),
    "blanks": (f"{DOMAIN}['{' ' * 900_000}']\n", "unknown key '  "),
    "quotes": (DOMAIN + "x = [" + '"\\"' * 200_000 + "\n", "not TOML"),
    "brackets": (f"{DOMAIN}x = {'[]' * 400_000}\n", "not TOML"),
    "much memory": (
        f'[lab]\nmemory = "99999999999999999999G"\n{DOMAIN}',
        "than any machine has",
    ),
    "much memory of a domain": ('[[domain]]\nname = "x"\nmemory = "9999999999999G"\n', "than any"),
    "an image of much": (
        f'[[image]]\npath = "a"\nsize = "99999999999T"\n{DOMAIN}',
        "than any",
    ),
    "much in overrides": (
        f'{DOMAIN}[domain.overrides]\nmemory = "99999999999G"\n',
        "than any",
    ),
    "no words": (
        '[[domain]]\nname = "x"\nprogram = { exec = [] }\n',
        "does not fit; write module:function",
    ),
    "an empty module": (
        '[[domain]]\nname = "x"\nprogram = "a..b:c"\n',
        "there is no module 'a..b'",
    ),
    "an empty file": ("", "lab.toml: the key 'domain' is missing; add domain = ..."),
    "no table": ("domain = 1\nlab = 2\nimage = 3\n", "domain: must be a list, is 1"),
}


@pytest.mark.parametrize(("source", "said"), TEXTS.values(), ids=list(TEXTS))
def test_odd_texts(folder: Path, capfd: pytest.CaptureFixture[str], source: str, said: str) -> None:
    (folder / "lab.toml").write_text(source)
    refused(capfd, ("validate", "lab.toml"), said)


NUL_AT = {
    "lab": '[lab]\nname = "a\\u0000b"\n' + DOMAIN,
    "name": DOMAIN.replace('"x"', '"x\\u0000"'),
    "program": DOMAIN.replace("idle", "\\u0000idle"),
    "word": '[[domain]]\nname = "x"\nprogram = { exec = ["sh", "-c", "a\\u0000b"] }\n',
    "variable": '[[domain]]\nname = "x"\n[domain.program]\nexec = ["sh"]\n'
    'env = { A = "\\u0000" }\n',
    "variable's name": '[[domain]]\nname = "x"\n[domain.program]\nexec = ["sh"]\n'
    'env = { "A\\u0000" = "" }\n',
    "file": f'{DOMAIN}files = ["/tmp\\u0000"]\n',
    "disk": f'{DOMAIN}disk = ["format=raw,vdev=xvda,access=rw,target=/tmp/a\\u0000b"]\n',
    "config": '[[domain]]\nconfig = "a\\u0000.cfg"\n',
    "argument": f'{DOMAIN}args = {{ a = ["b\\u0000"] }}\n',
    "override": f'{DOMAIN}[domain.overrides]\nextra = "\\u0000"\n',
    "key": f'{DOMAIN}"\\u0000" = 1\n',
    "image": f'[[image]]\npath = "a\\u0000b"\n{DOMAIN}',
}


@pytest.mark.parametrize("source", NUL_AT.values(), ids=list(NUL_AT))
def test_a_nul_anywhere(folder: Path, capfd: pytest.CaptureFixture[str], source: str) -> None:
    (folder / "lab.toml").write_text(source)
    refused(capfd, ("validate", "lab.toml"), "NUL character; take it out")


def long(path: Path) -> None:
    """Nothing can be made under that name."""


NO_IMAGE: list[tuple[str, Make, str]] = [
    ("image", fifo, "is neither a file nor a block device; name a file or block device"),
    ("image", Path.mkdir, "is a directory; name a file or block device"),
    ("image", zero, "is neither a file nor a block device"),
    ("image", a_socket, "is neither a file nor a block device"),
    ("image", loop, "cannot be looked at: Too many levels of symbolic links"),
    ("i" * 300, long, "cannot be looked at: File name too long; correct the path"),
]


@pytest.mark.parametrize(("name", "make", "text"), NO_IMAGE)
def test_no_image(
    folder: Path, capfd: pytest.CaptureFixture[str], name: str, make: Make, text: str
) -> None:
    """As an [[image]], with and without a size, and as a disk's target that no [[image]] names."""
    make(folder / name)
    disk = f'disk = ["format=raw,vdev=xvda,access=rw,target={name}"]\n'
    for source in (
        f'[[image]]\npath = "{name}"\n{DOMAIN}',
        f'[[image]]\npath = "{name}"\nsize = "1M"\n{DOMAIN}',
        DOMAIN + disk,
        DOMAIN + disk.replace("raw", "qcow2"),
    ):
        (folder / "lab.toml").write_text(source)
        refused(capfd, ("validate", "lab.toml"), text)


NO_FILE: list[tuple[str, Make, str]] = [
    ("file", fifo, "is neither a file, a directory nor a device; domains reach others by grants"),
    ("file", a_socket, "is neither a file, a directory nor a device"),
    ("file", loop, "cannot be looked at: Too many levels of symbolic links"),
    ("f" * 300, long, "cannot be looked at: File name too long"),
    ("file", lambda path: path.symlink_to("/dev/tty"), "is a terminal, and no domain gets one"),
    ("file", lambda path: path.symlink_to("/dev/ptmx"), "is a terminal, and no domain gets one"),
    ("file", long, "does not exist; correct the path"),
]


@pytest.mark.parametrize(("name", "make", "text"), NO_FILE)
def test_no_file_of_a_domain(
    folder: Path, capfd: pytest.CaptureFixture[str], name: str, make: Make, text: str
) -> None:
    make(folder / name)
    (folder / "lab.toml").write_text(f'{DOMAIN}files = ["{name}:rw"]\n')
    refused(
        capfd, ("validate", "lab.toml"), f"lab.toml:5: domain 'x', files: {folder}/{name} {text}"
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *((name, "a part of dom0 is called so") for name in ("xenstored", "toolstack", "kernel")),
        *((name, "a part of dom0 is called so") for name in ("hypervisor", "exec-1", "qemu-dm-a")),
        ("0", "a number is a domid to every command"),
        ("12", "a number is a domid to every command"),
        ("..", "use printable characters without '/'"),
        (".", "use printable characters without '/'"),
        ("a/b", "use printable characters without '/'"),
        ("../../x", "use printable characters without '/'"),
        ("a\u202eb", "use printable characters without '/'"),
        ("a\u200bb", "use printable characters without '/'"),
        ("n" * 200, "it is longer than 128 bytes"),
        ("é" * 100, "it is longer than 128 bytes"),
        ("", "the name is empty"),
    ],
)
def test_names_that_no_domain_can_have(
    folder: Path, capfd: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    """Red where the log of a domain called "xenstored" is the store's."""
    (folder / "guest.cfg").write_text(GUEST.replace('"x"', f'"{name}"'))
    (folder / "lab.toml").write_text('[[domain]]\nconfig = "guest.cfg"\n')
    refused(capfd, ("validate", "lab.toml"), why)


def test_where_a_capture_cannot_go(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It is found out before any frame has come."""
    fifo(folder / "fifo")
    near, person = os.openpty()
    cases = {
        "fifo": "nobody reads this FIFO; start its reader first",
        os.ttyname(person): "is a terminal: send it into a file or a program",
        ".": "Is a directory",
        "no/such/folder": "No such file or directory",
        "f" * 300: "File name too long",
    }
    for name, text in cases.items():
        with alarm(), pytest.raises(HvsimError, match=text), _output(name):
            pass
    os.close(near)
    os.close(person)
    assert capfd.readouterr().out == ""
