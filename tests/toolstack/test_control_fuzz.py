"""Whatever comes over the control wire, the toolstack answers or says what is wrong with it, and
goes on: no trace of calls in its log, and no verb that hangs.

Red without the checks of ``execute``, ``lab`` and ``find``: "OverflowError", "TypeError" and
"UnicodeEncodeError" with a trace each.
"""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvsim.lab.answers import ControlError
from hvsim.lab.control import Control
from hvsim.lab.rundir import RunDir
from hvsim.lab.wire import Wire
from hvsim.wire.control import Err, Exit, Out, Xl
from hvsim.wire.endpoints import MESSAGE_MAX
from hvsim.wire.frames import Frames
from tests.support.labs import Commands, commands

LAB = """
[lab]
name = "wire"
[[domain]]
name = "one"
memory = 16
program = "domains.guests.idle:main"
"""
LIMIT = 30.0
VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.sampled_from(["one", "1", "9" * 30, "99", "\0", "..", "/", "kill", "a\0b", "x=y"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
WORDS = st.lists(
    st.text(max_size=10) | st.sampled_from(["-a", "--json", "one", "9" * 30]), max_size=4
)
READING = (
    *("list", "domid", "domname", "block-list", "network-list", "vcpu-list", "info", "dmesg"),
    *("block-attach", "block-detach", "network-attach", "network-detach", "console", "x", "create"),
)
"""Of xl; those that end the domain are left out, for it is what the others are asked about."""
FIELDS: dict[str, tuple[str, ...]] = {
    "create": ("config", "config_path", "directory", "overrides", "images", "program", "args",
               "profile", "files", "path", "restart", "paused"),
    "ps": (),
    "ready": (),
    "exec": ("domain", "argv", "stdio", "env", "directory"),
    "capture": ("action", "vif", "side", "snaplen", "session"),
    "stop": ("timeout",),
    "hotplug": ("path", "action"),
    "device": ("action", "domain", "device", "served_by", "force"),
    "started": (),
    "cancel": (),
}  # fmt: skip


@st.composite
def requests(draw: Any) -> dict[str, Any]:
    """A request of a known verb with any values in its fields."""
    verb = draw(st.sampled_from([*FIELDS, "xl", "nonsense"]))
    if verb == "xl":
        argv = [draw(st.sampled_from(READING)), *draw(WORDS)]
        return {"verb": "xl", "argv": draw(st.just(argv) | VALUES), "cwd": draw(VALUES)}
    fields = {name: draw(VALUES) for name in FIELDS.get(verb, ()) if draw(st.booleans())}
    if verb == "stop":
        fields["timeout"] = draw(st.text() | st.none() | st.lists(st.booleans()))  # else it stops
    return {"verb": verb, **fields}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    file = tmp_path_factory.mktemp("lab") / "wire.toml"
    file.write_text(LAB)
    with commands() as made:
        made.ok("up", "--quiet", str(file))
        yield made
        log = (made.base / "wire" / "log" / "toolstack.log").read_text()
        assert "Traceback" not in log, log[-4000:]
        assert made.ok("down", "--now")


@pytest.fixture(scope="module")
def run(lab: Commands) -> RunDir:
    return RunDir(lab.base / "wire").read()


def wire(run: RunDir) -> Control:
    return Control(run.control, alive=lambda: run.running)


def answer(control: Control) -> tuple[int, str]:
    """The exit code, and what was said on either stream."""
    said = ""
    while True:
        match control.receive(LIMIT):
            case Out(text) | Err(text):
                said += text
            case Exit(code):
                return code, said
            case other:
                raise AssertionError(f"{other}: no answer")


@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(request=requests())
def test_any_values_in_any_field(run: RunDir, request: dict[str, Any]) -> None:
    with wire(run) as control:
        control.send(request)
        if request["verb"] == "cancel":
            return
        exit_code, said = answer(control)
        assert 0 <= exit_code <= 255
        assert "see log/toolstack.log" not in said, (request, said)
        assert exit_code == 0 or said.strip(), request


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(frames=st.lists(st.binary(max_size=60) | VALUES.map(msgpack.packb), min_size=1, max_size=3))
def test_any_message(run: RunDir, frames: list[bytes]) -> None:
    wire = Wire(run.control)
    try:
        for frame in frames:
            wire.send(frame)
            answer = wire.receive(LIMIT)
            assert answer is not None, "no answer"
            assert set(msgpack.unpackb(answer)) & {"err", "exit", "out"}
    finally:
        wire.close()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(min_size=1, max_size=60))
def test_any_bytes(run: RunDir, data: bytes) -> None:
    """Read as a length and a part of a message, mostly one that is too large."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(LIMIT)
        client.connect(str(run.control))
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        frames, said = Frames(), []
        while piece := client.recv(65536):
            frames.feed(piece)
        while (frame := frames.take()) is not None:
            said.append(msgpack.unpackb(frame))
    if len(data) > 3 and int.from_bytes(data[:4], "little") > MESSAGE_MAX:
        assert "bytes, and 4194304 are taken" in said[0]["err"]


def test_a_request_that_is_too_large(run: RunDir) -> None:
    """It is not sent: the toolstack would hang up, and nobody would say why."""
    with wire(run) as control, pytest.raises(ControlError, match="takes 4194304: make its words"):
        control.request(Xl(["x" * (5 << 20)]))
    with wire(run) as control, pytest.raises(ControlError, match="xl: a value that cannot be sent"):
        control.request(Xl(["\ud800"]))


def test_words_that_do_not_fit(lab: Commands) -> None:
    done = lab.run("exec", "one", "--", "echo", *["word"] * 20000)
    assert done.returncode == 1
    assert "bytes, and 65280 fit; put the words into a file" in done.stderr


def test_every_verb_is_tried(lab: Commands, run: RunDir) -> None:
    with wire(run) as control:
        control.send({"verb": "nonsense"})
        _, said = answer(control)
    known = said.partition("there are: ")[2].strip().split(", ")
    assert set(known) <= {*FIELDS, "xl"}


BAD_WORDS: list[tuple[tuple[str, ...], int, str]] = [
    (("exec", "9" * 30, "--", "true"), 1, "there is no domain"),
    (("exec", "one", "--", ""), 2, "no command; write `hvsim exec DOMAIN -- COMMAND ...`"),
    (("exec", "--env", "=x", "one", "--", "true"), 2, "write --env KEY=VALUE"),
    (("exec", "one", "--env", "A=b", "--", "true"), 127, "--env: not found among"),
    (("xl", "destroy", "9" * 30), 1, "Non-existant domain"),
    (("xl", "pause", "9" * 5000), 0, "Pausing domain: No such process"),
    (("xl", "vcpu-list", "9" * 30), 0, "Getting infolist"),
    (("xl", "domname", "9" * 5000), 1, "maybe this domain does not exist"),
    (("xl", "block-detach", "one", "9" * 5000), 1, "not connected"),
    (("xl", "shutdown", "9" * 30), 1, "shutdown failed"),
    (("fault", "kill", "9" * 30), 1, "does not exist"),
    (("fault", "kill", "9" * 5000), 1, "does not exist"),
    (("fault", "remove", "9" * 30), 1, "is no number of a rule, nor all"),
    (("fault", "remove", "9" * 5000), 1, "is no number of a rule, nor all"),
    (("fault", "kill", "one", "--process", "../x"), 1, ""),
    (("capture", "9" * 5000, "-w", "-"), 1, "has no vif 0"),
    (("capture", "one", "-c", "9" * 5000, "-w", "-"), 2, "a number from 1 to"),
    (("capture", "one", "--seconds", "nan", "-w", "-"), 2, "a number of seconds above 0"),
    (("down", "--timeout", "nan"), 2, "a number of seconds above 0 is wanted"),
    (("down", "--timeout", "-1"), 2, "a number of seconds above 0 is wanted"),
    (("down", "--timeout", "1e400"), 2, "a number of seconds above 0 is wanted"),
    (("down", "../wire"), 1, "no lab ../wire"),
    (("down", "."), 1, "no lab ."),
    (("--lab", "..", "ps"), 1, "--lab ..: no such lab"),
    (("env", "--as", "../../x"), 1, "no domain '../../x'"),
    (("env", "--as", "9" * 5000), 1, "no domain"),
    (("events", "--domain", "9" * 5000), 2, "invalid int value"),
    (("xenstore", "timeline", "9" * 5000), 1, ""),
    (("xenstore", "read", "a" * 5000), 1, "couldn't read path"),
    (("xenstore", "ls", ".."), 1, "xenstore-ls"),
    (("xenstore", "watch", "-n", "x", "/"), 1, "invalid int value"),
    (("xl", "create", "/dev/zero"), 3, "/dev/zero: is a device, and no file"),
    (("xl", "create", "/tmp"), 3, "/tmp: is a directory"),
    (("xl", "create", "/dev/null"), 1, "Domain name must be specified"),
    (
        ("xl", "create", "/dev/null", 'name="0"', 'kernel="k"'),
        1,
        "a number is a domid to every command",
    ),
    (
        ("xl", "create", "/dev/null", 'name="toolstack"', 'kernel="/k"'),
        1,
        "a part of dom0 is called so",
    ),
    (("demo", "--seconds", "nan"), 2, "a number of seconds above 0 is wanted"),
    (("demo", "--kills", "9" * 30), 2, "a number from 0 to 2147483647 is wanted"),
    (("demo", "--kills", "x"), 2, "a number from 0 to 2147483647 is wanted, not 'x'"),
]


@pytest.mark.parametrize(("words", "code", "text"), BAD_WORDS, ids=lambda value: str(value)[:40])
def test_words_that_make_no_sense(
    lab: Commands,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    text: str,
) -> None:
    from tests.cli.test_bad_files import run as command

    monkeypatch.setenv("HVSIM_RUN_DIR", str(lab.base))
    monkeypatch.delenv("HVSIM_LAB", raising=False)
    status = command(*words)
    err = capfd.readouterr().err
    assert text in err
    assert status == code, err
    assert "Traceback" not in err
    assert "toolstack.log" not in err


def test_a_fifo_as_a_config_and_as_a_disk(lab: Commands, tmp_path: Path) -> None:
    """The toolstack reads configs, on whom everybody waits.  Red with open(): it hangs; and
    without the look at a disk of QEMU's: it is attached and never connects."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    done = lab.run("xl", "create", str(fifo))
    assert (done.returncode, "is a FIFO, and no file" in done.stderr) == (3, True)
    for kind in ("phy", "qdisk"):
        disk = f"format=raw,vdev=xvdb,access=rw,backendtype={kind},target={fifo}"
        done = lab.run("xl", "block-attach", "one", disk)
        assert done.returncode == 1
        assert f"{fifo} is neither a file nor a block device" in done.stderr
    with wire(RunDir(lab.base / "wire").read()) as control:
        for target in ("/tmp/a\0b", "a\0b"):
            disk = f"format=raw,vdev=xvdc,access=rw,target={target}"
            said = control.request(Xl(["block-attach", "one", disk]))
            assert (said.exit, "null" in said.err) == (1, True), said.err
