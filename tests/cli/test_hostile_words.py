"""What a domain wrote reaches a person's terminal as letters, and nothing else: every listing is
fed with texts that would move the cursor, turn words around, hide, or look like a line of ours.

Red with ``printable`` returning what it is given: in 19 of them, all that show a domain's own words
or what was typed.
"""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import hvsim.cli
from tests.support.labs import Commands, commands

FORGED = "lab up is ready after 0.01 s"
EVIL = (
    "ok\x1b]0;owned\x07\x1b[2J\x9b31m\x85\u202eEVIL\u2066\u200b\u200d\u2060\ufeff\u061c\u2028\u2029"
    f"\x7f\t\r\n{FORGED}\v\f\0\x08\U000e0041\u3164\xad"
)
LAB = """
[lab]
name = "words"
[[image]]
path = "words.img"
size = "1M"
scratch = true
[[domain]]
name = "rogue"
memory = 16
program = "rogue:main"
args = { crash = CRASH }
disk = ["format=raw,vdev=xvda,access=rw,target=words.img"]
"""
ROGUE = f"""
import time

from hvsim.abi.hypercall import HVSIM_OP_note, HYPERVISOR_hvsim_op
from hvsim.domain.hypercall import HypercallError
from hvsim.drivers.block.front import BlockFront

EVIL = {EVIL!r}


def main(dom):
    print(EVIL, flush=True)
    BlockFront.open(dom, "xvda")
    dom.store.write("data/health", EVIL)
    for key in ("error", "state", "feature-x", "protocol", "ring-ref"):
        if not (dom.args["crash"] and key == "state"):
            dom.store.write("device/vbd/51712/" + key, EVIL)
    dom.store.write("device/vbd/51712/state", "4")
    dom.dmesg(EVIL)
    dom.log(EVIL)
    try:
        dom.hypercall.call(HYPERVISOR_hvsim_op, HVSIM_OP_note, EVIL, 1, EVIL)
    except (HypercallError, UnicodeError):
        pass
    if dom.args["crash"]:
        raise ValueError(EVIL)
    time.sleep(0.3)  # `up` has seen what is above before it finds that all is well
    dom.ready(EVIL)
    dom.store.write("data/health-detail", EVIL)
    dom.serve()
"""
LISTINGS = [
    ("ps",),
    ("ps", "--json"),
    ("events",),
    ("events", "--json"),
    ("labs",),
    ("labs", "--json"),
    ("env",),
    ("xl", "list"),
    ("xl", "list", "-v"),
    ("xl", "list", "-l"),
    ("xl", "list", "--json"),
    ("xl", "dmesg"),
    ("xl", "dmesg", "--json"),
    ("xl", "block-list", "rogue"),
    ("xl", "block-list", "rogue", "--json"),
    ("xl", "vcpu-list"),
    ("xl", "info"),
    ("xl", "domname", "1"),
    ("xl", "domid", EVIL.replace("\0", "")),
    ("xl", EVIL.replace("\0", "")),
    ("xl", "destroy", EVIL.replace("\0", "")),
    ("xl", "block-attach", "rogue", EVIL.replace("\0", "")),
    ("xenstore", "ls"),
    ("xenstore", "ls", "-f", "-p"),
    ("xenstore", "ls", "--json"),
    ("xenstore", "read", "-p", "/local/domain/1/data/health"),
    ("xenstore", "read", "--json", "/local/domain/1/data/health"),
    ("xenstore", "read", EVIL.replace("\0", "")),
    ("xenstore", "list", "-p", "/local/domain/1"),
    ("xenstore", "watch", "-n", "1", "/local/domain/1/data/health"),
    ("xenstore", "control", EVIL.replace("\0", "")),
    ("xenstore", EVIL.replace("\0", "")),
    ("xenstore", "timeline"),
    ("xenstore", "timeline", "rogue/xvda"),
    ("xenstore", "timeline", "rogue/xvda", "--json"),
    ("xenstore", "timeline", EVIL.replace("\0", "")),
    ("fault", "kill", EVIL.replace("\0", "")),
    ("exec", "rogue", "--", EVIL.replace("\0", "")),
    ("exec", EVIL.replace("\0", ""), "--", "true"),
    ("capture", EVIL.replace("\0", ""), "-w", "-"),
    ("--lab", EVIL.replace("\0", ""), "ps"),
    ("down", EVIL.replace("\0", "")),
    ("up", EVIL.replace("\0", "")),
    (EVIL.replace("\0", ""),),
    ("ps", EVIL.replace("\0", "")),
]
BAD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)


SAID: list[str] = []
"""What `hvsim up` has said."""


def must_be_harmless(said: bytes, *, json_wanted: bool = False) -> None:
    text = said.decode("utf-8")  # and no byte that is not UTF-8
    assert not BAD.search(text), ascii(text)
    assert not [line for line in text.split("\n") if line.startswith(FORGED)]
    if json_wanted:
        assert text.isascii()
        for part in [text] if text[:1] in "[{" and "\n}\n" in text[-3:] else []:
            json.loads(part)


def write(folder: Path, crash: str) -> str:
    (folder / "rogue.py").write_text(ROGUE, encoding="utf-8")
    file = folder / "words.toml"
    file.write_text(LAB.replace("CRASH", crash), encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with commands() as made:
        up = made.run("up", write(tmp_path_factory.mktemp("lab"), "false"))
        assert up.returncode == 0, up.stderr
        SAID[:] = [up.stdout, up.stderr]
        yield made
        made.ok("down", "--now")


def test_up_itself(lab: Commands) -> None:
    for said in SAID:
        must_be_harmless(said.encode())
    assert "rogue xvda: ok\\x1b]0;owned\\x07" in SAID[0]
    assert "health ok\\x1b" in SAID[0]


@pytest.mark.parametrize("words", LISTINGS, ids=lambda words: ascii(" ".join(words))[1:30])
def test_every_listing(
    lab: Commands,
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.setenv("HVSIM_RUN_DIR", str(lab.base))
    monkeypatch.delenv("HVSIM_LAB", raising=False)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    try:
        status = hvsim.cli.main(words)
    except SystemExit as leave:
        status = int(leave.code or 0)
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGHUP), before, strict=True):
            signal.signal(number, handler)
    out, err = capfdbinary.readouterr()
    for said in (out, err):
        must_be_harmless(said, json_wanted="--json" in words)
    assert status != 70, err
    assert out or err
    if any(EVIL[:5] in word for word in words):
        assert status != 0


def test_the_hostile_words_are_shown_where_they_belong(lab: Commands) -> None:
    """What is escaped is not lost: the listings above had something to escape."""
    for words, mark in (
        (("xl", "dmesg"), "?]0;owned"),
        (("xenstore", "ls"), "\\x1b]0;owned"),
        (("xenstore", "timeline", "rogue/xvda"), ".]0;owned"),
    ):
        assert mark in lab.ok(*words), words
    read = json.loads(lab.ok("xenstore", "read", "--json", "/local/domain/1/data/health-detail"))
    assert list(read.values()) == [EVIL]
    [row] = [row for row in lab.json("ps")["domains"] if row["domid"] == 1]
    assert row["name"] == "rogue"


def test_the_ends_of_logs(lab: Commands, tmp_path: Path) -> None:
    """A lab that does not come up: its console and its logs are quoted, line by line."""
    up = lab.run("up", "--name", "second", write(tmp_path, "true"))
    assert up.returncode == 1
    must_be_harmless((up.stdout + up.stderr).encode())
    lines = up.stderr.splitlines()
    assert "--- console/rogue.log" in lines
    [forged] = [line for line in lines if line.startswith(f"    {FORGED}")][:1]
    assert "\\x08" in forged


def test_a_hostile_lab_file_and_guest_config(lab: Commands, tmp_path: Path) -> None:
    quoted = json.dumps(EVIL)
    evil = tmp_path / "evil.toml"
    evil.write_text(
        f"{quoted} = 1\n[lab]\nname = {quoted}\n[[domain]]\nname = {quoted}\n{quoted} = {quoted}\n"
        f'[[domain]]\nconfig = "evil.cfg"\nprogram = {quoted}\nfiles = [{quoted}]\n',
        encoding="utf-8",
    )
    (tmp_path / "evil.cfg").write_text(
        f"name = '{EVIL.translate({10: None, 0: None})}'\nmemory = \x1b[2J\ndisk = ['\x9b']\n",
        encoding="utf-8",
    )
    for words in (("validate", str(evil)), ("validate", str(evil), "--json")):
        done = lab.run(*words)
        assert done.returncode == 1
        must_be_harmless((done.stdout + done.stderr).encode(), json_wanted="--json" in words)
    done = lab.run("xl", "create", str(tmp_path / "evil.cfg"))
    assert done.returncode != 0
    must_be_harmless((done.stdout + done.stderr).encode())


def test_our_own_logs_quote_what_domains_wrote(lab: Commands) -> None:
    """Those of dom0; a domain's own log and its console hold its bytes (README)."""
    for log in (lab.base / "words" / "log").glob("*.log"):
        if log.stem != "rogue":
            must_be_harmless(log.read_bytes())
