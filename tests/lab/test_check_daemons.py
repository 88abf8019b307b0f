"""A lab file that asks for a real daemon is refused when that cannot be had, or cannot do it."""

from pathlib import Path

import pytest

from hvsim.lab import real_daemons
from hvsim.lab.check import daemons as check_daemons
from hvsim.lab.load import load
from hvsim.lab.model import Lab
from hvsim.lab.problems import LabFileError
from hvsim.lab.real_daemons import console_command, find, store_command
from hvsim.lab.rundir import RunDir

RUN = RunDir(Path("/run/lab"))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with Debian's xen-utils of two versions, and the node library."""
    for version in ("4.14", "4.17"):
        folder = tmp_path / f"xen-{version}" / "bin"
        folder.mkdir(parents=True)
        for program in ("xenstored", "oxenstored", "xenconsoled"):
            (folder / program).touch()
    monkeypatch.setattr(real_daemons, "PROGRAMS", tmp_path)
    monkeypatch.setattr(check_daemons, "node_library", lambda: tmp_path / "nodes.so")
    return tmp_path / "xen-4.17" / "bin"


def lab(folder: Path, head: str, tail: str = "") -> Lab:
    file = folder / "lab.toml"
    guest = '[[domain]]\nname = "web"\nprogram = "domains.guests.idle:main"\n'
    file.write_text(f"[lab]\n{head}\n{guest}{tail}")
    return load(file)


def refused(folder: Path, head: str, tail: str = "") -> list[str]:
    with pytest.raises(LabFileError) as caught:
        lab(folder, head, tail)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_a_daemon_that_is_not_installed(
    tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when ``_program`` asks for nothing: the lab would come half up."""
    monkeypatch.setattr(real_daemons, "PROGRAMS", tmp_path / "nothing")
    remedy = "install Debian's xen-utils-4.17 (apt install xen-utils-4.17)"
    assert refused(tmp_path, 'store = "oxenstored"\nconsole = "xenconsoled"') == [
        f"lab.toml:2: [lab], store: the program oxenstored is not installed; {remedy}",
        f"lab.toml:3: [lab], console: the program xenconsoled is not installed; {remedy}",
    ]


def test_a_daemon_without_the_node_library(
    tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_daemons, "node_library", lambda: None)
    [said] = refused(tmp_path, 'store = "xenstored"')
    assert said.startswith(
        "lab.toml:2: [lab], store: xenstored needs the node library, which was not built; "
        "install a C compiler"
    )


def test_what_a_real_store_cannot_do(tmp_path: Path, installed: Path) -> None:
    quota = "[store.quota]\nnodes = 2000\nmemory = 4096\n"
    assert refused(tmp_path, 'store = "oxenstored"\nhandshake = "strict"', quota) == [
        "lab.toml:3: [lab], handshake: oxenstored cannot refuse a step of a handshake; leave it at "
        '"record", or set store = "builtin"',
        "lab.toml:9: store, quota, memory: oxenstored has no such limit; it has: node-size, nodes, "
        "outstanding, path-max, transactions, watches",
    ]


def test_a_word_that_names_no_daemon(tmp_path: Path) -> None:
    assert refused(tmp_path, 'store = "xenstord"') == [
        "lab.toml:2: [lab], store: 'xenstord' is not one of builtin, xenstored, oxenstored; did "
        "you mean 'xenstored'?"
    ]


def test_the_newest_program_is_taken(installed: Path) -> None:
    assert find("xenstored") == installed / "xenstored"
    assert find("no-such-daemon") is None


def test_the_command_of_the_c_daemon(tmp_path: Path, installed: Path) -> None:
    quota = "[store.quota]\nnodes = 2000\nmemory = 4096\n"
    command = store_command(lab(tmp_path, 'store = "xenstored"\ntrace = true', quota), RUN)
    assert command.argv == (
        str(installed / "xenstored"),
        "--no-fork",
        "--quota=memory=4096",
        "--entry-nb=2000",
        "--trace-file=/run/lab/log/xenstored.trace",
    )
    assert command.env["XENSTORED_RUNDIR"] == "/run/lab/xenstored"


def test_the_command_of_the_ocaml_daemon(tmp_path: Path, installed: Path) -> None:
    """All that it would write elsewhere is named in its config."""
    quota = "[store.quota]\nnodes = 2000\n"
    command = store_command(lab(tmp_path, 'store = "oxenstored"', quota), RUN)
    [(path, text)] = command.files.items()
    assert command.argv[1:] == ("--no-fork", "--config-file", str(path))
    lines = text.splitlines()
    for line in (
        "pid-file = /run/lab/xenstored/pid",
        "quota-maxentity = 2000",
        "xenstored-log-file = /run/lab/log/oxenstored.log",
        "access-log-file = /run/lab/log/oxenstored-access.log",
        "xenstored-port = /proc/xen/xsd_port",
    ):
        assert line in lines


def test_the_command_of_xenconsoled(installed: Path) -> None:
    command = console_command(RUN)
    assert command.argv == (
        str(installed / "xenconsoled"),
        "--interactive",
        "--log=guest",
        "--log-dir=/run/lab/console",
    )
    assert command.env == {"XENSTORED_PATH": "/run/lab/xenstored/socket"}


def test_the_log_of_a_console_has_the_name_that_its_daemon_gives(tmp_path: Path) -> None:
    assert RunDir(tmp_path).console_log("web") == tmp_path / "console" / "web.log"
    real = RunDir(tmp_path, {"console": "xenconsoled"})
    assert real.console_log("web") == tmp_path / "console" / "guest-web.log"
