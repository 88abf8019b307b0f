"""Every config of ours means what it means to the installed xl, and is refused in its words.

Seen red with the former lexer (capitals were names, escapes refused), with `w!` not listed, with a
record in which one line was changed, and with every key of the table moved to another place.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.toolstack.config import ConfigError, parse_config
from hvsim.toolstack.config.libxl_json import render
from tests.config import cases_examples, real_xl
from tests.config.configs import (
    SOURCE,
    Said,
    alone,
    configs,
    disk_text,
    fingerprint,
    flat,
    read,
    without_chance,
)
from tests.config.differences import REASONS
from tests.support import optional
from tests.support.labs import Commands, commands

STEP = 6
"""Of the configs that are no examples every sixth is asked again; `make soak` asks all."""


def ours(text: str) -> Said:
    """What we say of a config, in the form of the record."""
    try:
        config = parse_config(text, SOURCE)
    except ConfigError as refused:
        return refused.code, "\n".join(refused.lines).splitlines(), None
    lines = "\n".join(config.warnings).splitlines()
    return 0, lines, without_chance(flat(config.libxl))


def test_every_config_is_what_it_is_to_xl() -> None:
    record = read()
    texts = configs()
    assert len(texts) > 900
    wrong = {
        text: (record[fingerprint(text)], ours(text))
        for text in texts
        if text not in REASONS and ours(text) != record[fingerprint(text)]
    }
    assert not wrong


def test_what_is_listed_as_different_is() -> None:
    record = read()
    assert [text for text in REASONS if ours(text) == record[fingerprint(text)]] == []


def test_the_record_has_no_more_than_the_configs() -> None:
    assert set(read()) == {fingerprint(text) for text in configs()}


def examples() -> list[str]:
    """The manuals' own."""
    return [*map(disk_text, cases_examples.DISKS), *map(alone, cases_examples.LINES)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    optional.xen_program("xl")
    optional.node_library()
    file = tmp_path_factory.mktemp("oracle") / "oracle.toml"
    file.write_text(real_xl.LAB)
    with commands() as hvsim:
        hvsim.ok("up", "--quiet", str(file))
        yield hvsim
        hvsim.ok("down")


def ask_again(lab: Commands, folder: Path, texts: list[str]) -> dict[str, tuple[Said, Said]]:
    """Where the record is not what the installed xl says now."""
    record = read()
    said = zip(texts, real_xl.ask(lab, optional.xen_program("xl"), folder, texts), strict=True)
    return {
        text: (record[fingerprint(text)], now)
        for text, now in said
        if now != record[fingerprint(text)]
    }


@pytest.mark.interop
def test_the_record_is_still_true(lab: Commands, tmp_path: Path) -> None:
    texts = list(dict.fromkeys([*examples(), *configs()[::STEP]]))
    assert ask_again(lab, tmp_path, texts) == {}


@pytest.mark.interop
@pytest.mark.soak
def test_all_of_the_record_is_still_true(lab: Commands, tmp_path: Path) -> None:
    assert ask_again(lab, tmp_path, configs()) == {}


@pytest.mark.interop
def test_the_json_looks_as_that_of_xl(lab: Commands, tmp_path: Path) -> None:
    """To the letter, the order of its members too.  Seen red with keys sorted by name."""
    text = (
        'name = "tä\\n\\"x\\""\nkernel = "/k"\nmemory = 64\nvcpus = 2\nmaxvcpus = 4\n'
        'uuid = "d8ac4a1e-f6c2-4d1b-9a3b-000000000001"\ncpu_weight = 512\ncap = 50\n'
        'disk = ["/a,raw,xvda,rw", "format=qcow2,vdev=hdc,devtype=cdrom,backend=st,target=/b"]\n'
        'vif = ["mac=00:16:3e:00:00:01,ip=1.2.3.4,rate=1MB/s,script=s,mtu=9000,backend=d", ""]\n'
        'pci = ["01:00.0"]\nvfb = ["vnc=1"]\non_crash = "preserve"\nextra = "a\\tb"\n'
    )
    file = tmp_path / SOURCE
    file.write_text(text, encoding="utf-8")
    xl = optional.xen_program("xl")
    real = lab.ok("exec", "Domain-0", "--", xl, "create", "-n", "-d", str(file))
    assert render(parse_config(text, SOURCE).libxl) == real.rstrip("\n")
