"""What is warned of by name, and which word was probably meant.

Seen red with Effect.NOTHING passed over, with the unknown keys not looked at, and with the case of
letters counted (no capital letter was near anything).
"""

import gzip
import re
from pathlib import Path

import pytest

from hvsim.lab.load import load, load_guest
from hvsim.lab.near_miss import nearest, remedy
from hvsim.lab.problems import LabFileError
from hvsim.toolstack.config.keys import BY_NAME, KEYS, Effect
from tests.support import optional
from tests.support.labs import ROOT, commands

HEAD = 'name = "g"\nmemory = 32\nprogram = "domains.guests.idle:main"\n'
WITHIN = {
    "backend",
    "connection",
    "connectors",
    "controller",
    "height",
    "hostaddr",
    "hostbus",
    "path",
    "pnode",
    "policy",
    "port",
    "ports",
    "security_model",
    "size",
    "strategy",
    "tag",
    "vdistances",
    "version",
    "width",
}
"""What the manual lists in the same way, and which stands within the values of keys."""


def guest(folder: Path, lines: str) -> Path:
    file = folder / "g.cfg"
    file.write_text(HEAD + lines)
    return file


def warnings(folder: Path, lines: str) -> list[str]:
    found = load_guest(guest(folder, lines)).warnings
    return [str(one).replace(f"{folder}/", "") for one in found]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('cpus = "0-3"', "domains run on whichever CPU Linux gives them"),
        ('pci = ["01:00.0"]', "no device of the host is handed to a guest"),
        ('vfb = ["vnc=1"]', "guests have no screen; hvsim xl console shows what they say"),
        ("usb = 1", "no hardware is emulated for a PV guest"),
        ('boot = "dc"', "no kernel is booted here; name what is to run with program="),
        ('serial = "pty"', "no hardware is emulated for a PV guest"),
        ("cpu_weight = 512", "CPU time is measured here, not scheduled"),
        ("localtime = 1", "a guest's clock is the host's"),
        ('p9 = ["tag=a,path=/,security_model=none"]', "there is no backend for such a device"),
        ("max_event_channels = 99", "grant tables and event channels have fixed limits here"),
    ],
)
def test_what_has_no_effect_is_named_with_its_reason(tmp_path: Path, line: str, why: str) -> None:
    [found] = warnings(tmp_path, f"{line}\n")
    key = line.partition(" ")[0]
    assert found.startswith(f"g.cfg:4: {key} has no effect here: {why}")
    assert found.endswith("; leave it out")


def test_every_key_without_effect_says_why() -> None:
    for key in KEYS:
        assert bool(key.why) == (key.effect is Effect.NOTHING), key.name
        assert not key.why.endswith(".")


@pytest.mark.interop
def test_the_table_has_every_key_of_the_manual() -> None:
    text = gzip.decompress(optional.manual("xl.cfg.5").read_bytes()).decode()
    keys = set(re.findall(r'^\.IX Item "([a-z0-9_]+)=', text, re.MULTILINE))
    assert len(keys) > 160
    assert keys - BY_NAME.keys() == WITHIN


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "memmory = 64",
            "memmory is no key of xl.cfg(5), and xl passes over it; did you mean 'mem",
        ),
        ("on_crahs = 1", "did you mean 'on_crash'?"),
        ("quux = 1", "quux is no key of xl.cfg(5), and xl passes over it; leave it out"),
        ('memory = "1G"', "`memory' is not a valid number; xl goes on without it: write a number"),
        ('disk = "x"', "a single value but should be a list; write disk = [ ... ]"),
        ('vif = ["netdev=a"]', "the netdev parameter is deprecated"),
    ],
)
def test_what_xl_passes_over_is_warned_of(tmp_path: Path, line: str, said: str) -> None:
    found = warnings(tmp_path, f"{line}\n")
    assert said in found[0]


def test_words_of_devices_without_effect_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.img").write_bytes(bytes(512))
    found = warnings(
        tmp_path,
        f'disk = ["{tmp_path}/a.img,raw,xvda,rw,direct-io-safe"]\n'
        'vif = ["model=e1000,type=ioemu"]\n',
    )
    assert found == [
        "g.cfg: disk xvda: direct-io-safe has no effect here; leave it out",
        "g.cfg: vif 0: model has no effect here; leave it out",
        "g.cfg: vif 0: type=ioemu has no effect here; leave it out",
    ]


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("Memory = 64\n", "did you mean 'memory'?"),
        ("localtime = True\n", "write 1"),
        ("rtc_timeoffset = -5\n", 'write "-5" in quotes'),
        ('extra = "a\n', "close the quotes on the same line"),
        ("name = abc\n", 'write "abc" in quotes'),
        ('extra = "C:\\new\\q"\n', "write \\\\ for a backslash"),
        ("disk = [ 'a'\n", "close the list with ]"),
        ("memory = 1 vcpus = 2\n", "put ; between two settings"),
        ("memory\n", "write KEY = VALUE"),
        ('type = "PV"\n', "did you mean 'pv'?"),
        ('builder = "linux"\n', 'leave builder out, or write type = "pv"'),
        ('on_reboot = "rename_restart"\n', "did you mean 'rename-restart'?"),
        ('uuid = "d8ac4a1ef6c24d1b9a3b000000000001"\n', "write it as in d8ac4a1e-f6c2-"),
        ("disk = ['/a,raw,xvda,RW']\n", "did you mean 'rw'?"),
        ("disk = ['/a,qcow22,xvda,rw']\n", "did you mean 'qcow2'?"),
        ("disk = ['/a,xvda,rw']\n", "between the image and its vdev stands the format"),
        ("disk = ['Vdev=xvda,target=/a']\n", "did you mean 'vdev'?"),
        ("disk = ['acces=rw,vdev=xvda,target=/a']\n", "did you mean 'access'?"),
        ("disk = ['vdev=xvda,vdev=xvdb,target=/a']\n", "say vdev once"),
        ("vif = ['mac=00:16:3e']\n", "write six bytes"),
        ("vif = ['brigde=a']\n", "did you mean 'bridge'?"),
        ("vif = ['rate=10mb/s']\n", "as in 10Mb/s, 250KB/s or 1MB/s@20ms"),
        ("vif = ['mtu=big']\n", "write a number"),
        ("max_grant_frames = 99999999999\n", "leave it out: it has no effect here"),
        ("# no line end", "end the file with a line end"),
    ],
)
def test_what_is_refused_has_a_remedy(tmp_path: Path, lines: str, wanted: str) -> None:
    with pytest.raises(LabFileError) as refused:
        load_guest(guest(tmp_path, lines))
    assert wanted in refused.value.problems[0].remedy


def test_line_ends_of_dos(tmp_path: Path) -> None:
    file = tmp_path / "g.cfg"
    file.write_bytes(HEAD.replace("\n", "\r\n").encode())
    with pytest.raises(LabFileError, match="line ends of DOS"):
        load_guest(file)


@pytest.mark.parametrize(
    ("word", "known", "near"),
    [
        ("RAW", ["qcow2", "raw"], "raw"),
        (" raw ", ["qcow2", "raw"], "raw"),
        ("rename_restart", ["restart", "rename-restart"], "rename-restart"),
        ("xyz", ["raw", "qcow2"], None),
        ("", ["raw"], None),
    ],
)
def test_nearest(word: str, known: list[str], near: str | None) -> None:
    assert nearest(word, known) == near


def test_a_complaint_that_nobody_knows_has_no_remedy() -> None:
    assert remedy("the moon is full") == ""


def test_a_lab_tells_of_its_guests_with_file_and_line(tmp_path: Path) -> None:
    guest(tmp_path, "vncc = 1\n")
    file = tmp_path / "lab.toml"
    file.write_text(
        '[[domain]]\nconfig = "g.cfg"\n[domain.overrides]\nname = "h"\nboot = "c"\n'
        '[[domain]]\nname = "i"\nprogram = "domains.guests.idle:main"\nvif = ["model=a"]\n'
    )
    found = [str(one).replace(f"{tmp_path}/", "") for one in load(file).warnings]
    assert found[0].startswith("g.cfg:4: vncc is no key of xl.cfg(5)")
    assert found[1].startswith("g.cfg:7: boot has no effect here")
    assert found[2] == "lab.toml:6: domain 'i', vif 0: model has no effect here; leave it out"


def test_validate_prints_warnings_and_ends_well(tmp_path: Path) -> None:
    file = guest(tmp_path, "usb = 1\n")
    with commands() as hvsim:
        done = hvsim.run("validate", str(file))
        assert (done.returncode, done.stdout.count("warning: ")) == (0, 1)
        found = hvsim.json("validate", str(file))
    assert found["valid"]
    assert [row["line"] for row in found["warnings"]] == [4]


def test_the_page_about_configs_has_every_key() -> None:
    """With what becomes of it.  Seen red with a key moved to another row."""
    page = (ROOT / "docs" / "guest-configs.md").read_text()
    heads = {Effect.ACTS: "**Does what it says:**", Effect.SHOWN: "**Stands in the store"}
    for key in KEYS:
        rows = [row for row in page.splitlines() if f"`{key.name}`" in row and "|" in row[:1]]
        if key.effect is Effect.NOTHING:
            assert any(row.endswith(f"| {key.why} |") for row in rows), key.name
        else:
            line = next(row for row in page.splitlines() if row.startswith(heads[key.effect]))
            assert f"`{key.name}`" in line
