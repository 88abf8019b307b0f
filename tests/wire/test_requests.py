"""Requests of the control wire: they cross it unchanged, and what is wrong is said by its field.

Red without ``forbid_unknown_fields``, with a text taken from ``TEXTS``, and with a check of exec's
taken away.
"""

import pytest

from hvsim.wire import requests
from hvsim.wire.control import (
    Cancel,
    Err,
    Exit,
    Frame,
    Out,
    Ps,
    Status,
    Told,
    Xl,
    asking,
    frame,
    verb_of,
)
from hvsim.wire.lab_requests import (
    VERBS,
    Capture,
    Create,
    DeclaredDevice,
    Device,
    Exec,
    Hotplug,
    Ready,
    Request,
    Started,
    Stop,
)
from hvsim.wire.packing import BadMessage, pack, unpack

ASKED: list[Request] = [
    Create("name='a'"),
    Create(
        "",
        "a.cfg",
        "/d",
        ["memory = 8"],
        {"i": "/i"},
        "p:main",
        {"deep": {"list": [1, 2.5, True, None, b"x"]}},
        "driver",
        [("/f\udcff", "rw")],
        ["/p"],
        "always",
        "what-there-is",
        True,
        [DeclaredDevice("vrng", 1, "entropy", {"a": "1"}, {}, there=False)],
        ["vtap"],
    ),
    *(Started(), Ps(), Ready(), Cancel(), Status(3), Stop(2.5)),
    Xl(["list", "\udcff"], "/d", True),
    Exec("one", ["true"], "/s", {"A": "=b"}, "/d"),
    Capture("start", "vif1.0", "front", 96),
    Capture("read", session=7),
    Hotplug("backend/vbd/1/2", "add"),
    Device("detach", "one", "vrng0", "entropy", force=True),
]


@pytest.mark.parametrize("request_", ASKED, ids=verb_of)
def test_what_is_asked_is_read(request_: Request) -> None:
    read = requests.read(pack(asking(request_)))
    assert type(read) is type(request_)
    assert pack(asking(read)) == pack(asking(request_))


def test_every_verb_is_asked_above() -> None:
    assert {verb_of(one) for one in ASKED} == {*VERBS}


CONFIG = {"verb": "create", "config": "x"}
PROGRAM = {"verb": "exec", "domain": "one", "argv": ["true"], "stdio": "/s"}
WORDS = "exec: argv must be a list of texts without NUL, the first of which names a program"
NAMES = "exec: env must be a table of texts without NUL; a variable's name is not empty and has no"
ENTRY = 'create: an entry of files must be [path, "r" or "rw"]: '


@pytest.mark.parametrize(
    ("raw", "text", "code"),
    [
        (7, "control: a request is one msgpack map with a verb", 2),
        ({"verb": 7}, "control: a request is one msgpack map with a verb", 2),
        ({"no": "verb"}, "control: a request is one msgpack map with a verb", 2),
        ({"verb": "dance"}, "control: no verb 'dance'; there are: capture, create, device,", 2),
        ({"verb": "xl"}, "xl: argv must be a list of texts", 2),
        ({"verb": "xl", "argv": "list"}, "xl: argv must be a list of texts", 2),
        ({"verb": "xl", "argv": ["a", 5]}, "xl: argv must be a list of texts", 2),
        ({"verb": "xl", "argv": [], "cwd": 5}, "xl: 'cwd' must be text, not 5", 2),
        ({"verb": "xl", "argv": [], "json": 1}, "xl: 'json' must be true or false, not 1", 2),
        ({"verb": "xl", "argv": [], "x": 1}, "xl: Object contains unknown field `x`", 2),
        ({"verb": "stop", "timeout": "x"}, "stop: timeout must be a number of seconds", 2),
        ({"verb": "status", "asked": "x"}, "status: 'asked' must be a number, not 'x'", 2),
        ({"verb": "create"}, "create: 'config' must be text, not None", 1),
        ({**CONFIG, "config": 5}, "create: 'config' must be text, not 5", 1),
        ({**CONFIG, "program": 5}, "create: 'program' must be text, not 5", 1),
        ({**CONFIG, "files": 7}, "create: 'files' must be a list, not 7", 1),
        ({**CONFIG, "files": ["x"]}, f"{ENTRY}'x'", 1),
        ({**CONFIG, "files": [["a", "r"], ["a", "x"]]}, f"{ENTRY}['a', 'x']", 1),
        ({**CONFIG, "images": [1]}, "create: 'images' must be a table, not [1]", 1),
        ({**CONFIG, "overrides": [1]}, "create: overrides[0]: Expected `str`, got `int`", 1),
        ({**CONFIG, "profile": "x"}, "create: profile 'x' is neither guest nor driver", 1),
        ({**CONFIG, "restart": "x"}, "create: restart 'x' is neither never nor always", 1),
        ({**CONFIG, "walls": "x"}, "create: walls: Invalid enum value 'x'", 1),
        ({**CONFIG, "devices": [["a"]]}, "create: an entry of devices: Expected `array` of", 1),
        ({**CONFIG, "config": ["x" * 999]}, "create: 'config' must be text, not ['xxxxxxx", 1),
        ({**PROGRAM, "argv": []}, WORDS, 2),
        ({**PROGRAM, "argv": [""]}, WORDS, 2),
        ({**PROGRAM, "argv": ["a", "b\0"]}, WORDS, 2),
        ({**PROGRAM, "argv": "true"}, WORDS, 2),
        ({**PROGRAM, "env": {"a=": "b"}}, NAMES, 2),
        ({**PROGRAM, "env": {"": "b"}}, NAMES, 2),
        ({**PROGRAM, "env": {"a": "\0"}}, NAMES, 2),
        ({**PROGRAM, "env": {"a": 5}}, NAMES, 2),
        ({**PROGRAM, "stdio": "s"}, "exec: stdio must be the path of a socket", 2),
        ({**PROGRAM, "stdio": "/" + "s" * 107}, "exec: stdio must be the path of a socket", 2),
        ({**PROGRAM, "directory": "/\0"}, "exec: directory must be a path", 2),
        ({"verb": "capture"}, "capture: action must be start, read or stop", 2),
        ({"verb": "capture", "action": "start", "side": "x"}, "capture: side must be front or", 2),
        ({"verb": "capture", "action": "read", "session": None}, "capture: that capture has", 2),
        ({"verb": "device", "action": "x"}, "device: action must be attach or detach", 2),
        ({"verb": "hotplug", "path": "x"}, "hotplug: 'action' must be text, not None", 2),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_by_its_field(raw: object, text: str, code: int) -> None:
    with pytest.raises(requests.BadRequest) as bad:
        requests.read(pack(raw))
    assert str(bad.value).startswith(text)
    assert bad.value.code == code
    assert len(str(bad.value)) < 400


def test_what_is_no_msgpack() -> None:
    with pytest.raises(requests.BadRequest, match="one msgpack map with a verb"):
        requests.read(b"\xc1")


@pytest.mark.parametrize(
    "part", [Out("a\n"), Err("b\n"), Exit(3, {"a": [1]}), Exit(0), Told({"yours": None}, 2)]
)
def test_a_part_of_an_answer_is_read(part: Frame) -> None:
    read = frame(unpack(pack(part._asdict())))
    assert type(read) is type(part)
    assert read == part


@pytest.mark.parametrize(
    "raw", [7, {}, {"out": 5}, {"err": b"x"}, {"exit": "0", "data": None}, {"status": {}}]
)
def test_what_is_no_part_of_an_answer(raw: object) -> None:
    with pytest.raises(BadMessage, match="is none of out, err, status and exit"):
        frame(raw)
