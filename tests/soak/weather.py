"""Scenarios that are drawn: a lab of two or three tiers, storms of faults of all kinds, and calm.

A storm breaks what heals: whoever it meets must lose nothing, and go on when it is over.  What does
not heal (a ring with bytes that nobody wrote, a disk that lies) meets a guest that may die of it,
`victim`, beside the others at the same driver domains: these must not notice.  Pure: the same seed,
the same text.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

STORMS: Final = (2, 3)
"""Least and most, of a scenario."""
TROUBLES: Final = (2, 4)
"""Of a storm."""

Table = dict[str, Any]


@dataclass
class Trouble:
    """One thing that is broken.

    Attributes:
        faults, steps: tables of the phase that breaks.
        cures: faults of the phase that heals: what real people would do, such as ringing in the
            place of a doorbell that was lost.
        kills: driver domains that are to begin anew in the phase that heals.
        unchecked: checks that it breaks by its nature.
    """

    faults: list[Table] = field(default_factory=list)
    steps: list[Table] = field(default_factory=list)
    cures: list[Table] = field(default_factory=list)
    kills: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cast:
    """Who is in a lab.

    Attributes:
        disks, vifs: devices of guests that must live.
        guests: these guests.
        drivers: driver domains.
        pairs: of a driver domain and a guest that it serves.
    """

    text: str
    clients: Mapping[str, int]
    disks: Sequence[str]
    vifs: Sequence[str]
    guests: Sequence[str]
    drivers: Sequence[str]
    pairs: Sequence[str]


_HEAD: Final = """
[lab]
memory = 2048
walls = "what-there-is"
"""
_IMAGES: Final = "".join(
    f'[[image]]\npath = "{name}.img"\nsize = "{size}"\nscratch = true\n'
    for name, size in (("db", "64M"), ("registers", "1M"), ("victim", "8M"))
)
_STORAGE: Final = """
[[domain]]
name = "storage"
role = "driver"
restart = "always"
memory = 64
"""
_GUEST: Final = """
[[domain]]
name = "{name}"
memory = {memory}
program = "domains.guests.{program}:main"
on_poweroff = "destroy"
{devices}
"""
_DISK: Final = 'disk = ["format=raw,vdev=xvda,access=rw,backend=storage,target={}.img"]\n'
_VIF: Final = 'vif = ["bridge=xenbr0,ip=10.0.0.{}/24,backend=network"]\n'


def _guest(name: str, program: str, devices: str, memory: int = 64) -> str:
    return _GUEST.format(name=name, program=program, devices=devices, memory=memory)


_COMMON: Final = (
    _HEAD
    + _IMAGES
    + _STORAGE
    + _guest("registers", "register", _DISK.format("registers"), 32)
    + _guest("victim", "load", _DISK.format("victim") + 'on_crash = "destroy"\n', 32)
    + '[[load]]\ndomain = "registers"\nargs = { rate = 100, registers = 3 }\n'
    + '[[load]]\ndomain = "victim"\nargs = { rate = 100, report = 1 }\n'
)
TWO_TIER: Final = Cast(
    _COMMON
    + _guest("db", "database", _DISK.format("db"), 128)
    + '[[load]]\ndomain = "db"\nargs = { rate = 60 }\n',
    {"db": 10, "registers": 30},
    ("db/xvda", "registers/xvda"),
    (),
    ("db", "registers"),
    ("storage",),
    ("storage <-> db", "storage <-> registers"),
)
THREE_TIER: Final = Cast(
    _COMMON
    + _STORAGE.replace("storage", "network").rstrip()
    + '\nprogram = "domains.network:main"\n'
    + _guest("db-primary", "server", _DISK.format("db") + _VIF.format(3), 128)
    + _guest("web-frontend", "web", _VIF.format(2))
    + _guest("client", "client", _VIF.format(1))
    + '[[load]]\ndomain = "client"\nhistory = "commits"\nimage = "db-primary"\n',
    {"client": 5, "registers": 30},
    ("db-primary/xvda", "registers/xvda"),
    ("client/eth0", "web-frontend/eth0", "db-primary/eth0"),
    ("db-primary", "registers", "web-frontend", "client"),
    ("storage", "network"),
    ("storage <-> registers", "storage <-> db-primary", "network <-> client"),
)
VICTIM: Final = "victim/xvda"


# -- what heals --------------------------------------------------------------------------------


def _process(dice: random.Random, cast: Cast) -> Trouble:
    who = dice.choice((*cast.drivers, *cast.drivers, "xenstored", "xenconsoled", "toolstack"))
    what = dice.choice(("kill", "stall", "restart-loop", "crash"))
    if what == "crash" and who not in cast.drivers:
        what = "kill"
    fault: Table = {"target": who, "process": what}
    if what == "restart-loop":
        fault |= {"in": "300ms..900ms", "times": 3}
    return Trouble([fault])


def _steps(dice: random.Random, cast: Cast) -> Trouble:
    who = dice.choice((*cast.drivers, "xenstored"))
    if dice.random() < 0.5:
        return Trouble(steps=[{"kill": who}])
    return Trouble(
        steps=[{"stall": who, "when": "100ms..400ms"}, {"resume": who, "when": "700ms..1500ms"}]
    )


def _cpu(dice: random.Random, cast: Cast) -> Trouble:
    who = dice.choice((*cast.drivers, *cast.guests, "xenstored", "toolstack"))
    return Trouble([{"target": who, "cpu": f"{dice.randrange(20, 70)}%"}])


def _clock(dice: random.Random, cast: Cast) -> Trouble:
    what = dice.choice(({"clock.jump": "+2s"}, {"clock.jump": "-1h"}, {"clock.drift": "20000ppm"}))
    return Trouble([{"target": dice.choice((*cast.drivers, *cast.guests)), **what}])


def _bells(dice: random.Random, cast: Cast) -> Trouble:
    device = dice.choice((*cast.disks, *cast.vifs))
    kind, text = dice.choice(
        (
            ("bell.drop", "5%"),
            ("bell.delay", "1ms..30ms"),
            ("bell.duplicate", "20%"),
            ("bell.reorder", "10%"),
            ("bell.storm", "500/s"),
        )
    )
    target = dice.choice((device, dice.choice(cast.pairs)))
    fault: Table = {"target": target, kind: text}
    if "<->" not in target:
        fault["from"] = dice.choice(("front", "back", "both"))
    cure = {"target": target, "bell.storm": "20/s"}
    return Trouble([fault], cures=[cure] if kind == "bell.drop" else [])


def _slow(dice: random.Random, cast: Cast) -> Trouble:
    target = dice.choice((*cast.disks, "storage"))
    return Trouble([{"target": target, "media": "slow", "by": "1ms..30ms", "chance": "30%"}])


def _network(dice: random.Random, cast: Cast) -> Trouble:
    if not cast.vifs:
        return _slow(dice, cast)
    what = dice.choice(
        (
            {"drop": "5%"},
            {"delay": "1ms..20ms"},
            {"duplicate": "5%"},
            {"reorder": "5%"},
            {"rate": "2mbit"},
            {"link": "down", "for": "1s"},
            {"drop": "2%", "delay": "5ms..10ms", "direction": "in"},
        )
    )
    if dice.random() < 0.15:
        return Trouble([{"target": "client <-> web-frontend", "partition": "yes", "for": "1s"}])
    return Trouble([{"target": dice.choice(cast.vifs), **what}])


def _halves(dice: random.Random, cast: Cast) -> Trouble:
    """Whatever was kept back goes on when the rule goes."""
    device = dice.choice(cast.disks)
    if dice.random() < 0.5:
        return Trouble([{"target": device, "answer": "never", "chance": "10%"}])
    fault = {"target": device, "ring": "stop", "half": dice.choice(("back", "front")), "times": 3}
    return Trouble([fault])


def _hold(dice: random.Random, cast: Cast) -> Trouble:
    return Trouble([{"target": dice.choice(cast.disks), "grant": "hold"}])


def _watches(dice: random.Random, cast: Cast) -> Trouble:
    who = dice.choice((*cast.drivers, *cast.guests))
    fault: Table = {"target": "xenstored", "domain": who}
    if dice.random() < 0.7:
        return Trouble([fault | {"watch": "delay", "by": "10ms..200ms"}])
    return Trouble([fault | {"watch": "drop", "chance": "10%"}], kills=list(cast.drivers))


def _again(dice: random.Random, cast: Cast) -> Trouble:
    """Who commits a transaction is to try again."""
    return Trouble([{"target": "xenstored", "request": "EAGAIN", "op": "commit", "chance": "30%"}])


def _freeze(dice: random.Random, cast: Cast) -> Trouble:
    device = dice.choice(cast.disks)
    fault = {"target": "xenstored", "freeze": f"{device}@2", "half": "back"}
    return Trouble([fault], [{"kill": "storage", "when": "100ms..500ms"}])


# -- what does not -----------------------------------------------------------------------------


def _victim_ring(dice: random.Random, cast: Cast) -> Trouble:
    what = dice.choice(
        (
            {"ring": "warp", "by": dice.choice((1, 40, -1))},
            {"ring": "corrupt", "at": dice.choice(("0..0", "8..15", "0..7"))},
            {"ring": "flip"},
        )
    )
    return Trouble(
        [
            {
                "target": VICTIM,
                "half": dice.choice(("front", "back")),
                "after": 20,
                "times": 5,
                **what,
            }
        ]
    )


def _victim_answers(dice: random.Random, cast: Cast) -> Trouble:
    what = dice.choice(("twice", "unknown", "wrong-op"))
    return Trouble([{"target": VICTIM, "answer": what, "after": 20, "times": 2}])


def _victim_media(dice: random.Random, cast: Cast) -> Trouble:
    what = dice.choice(("eio", "full", "short", "torn", "lost-flush", "flip"))
    return Trouble([{"target": VICTIM, "media": what, "chance": "5%"}])


def _victim_forgets(dice: random.Random, cast: Cast) -> Trouble:
    return Trouble([{"target": VICTIM, "ring": "forget", "half": "front"}], [{"kill": "storage"}])


def _victim_grants(dice: random.Random, cast: Cast) -> Trouble:
    fault: Table = {"target": VICTIM, "grant": dice.choice(("fail-map", "fail-copy", "revoke"))}
    return Trouble([fault], [{"kill": "storage", "when": "100ms..900ms"}])


def _victim_store(dice: random.Random, cast: Cast) -> Trouble:
    what = dice.choice(
        (
            {"request": "EIO", "domain": "victim", "chance": "50%"},
            {"quota": "exhaust", "domain": "victim"},
            {"thrash": VICTIM, "half": dice.choice(("front", "back"))},
            {"delete": "device/vbd", "domain": "victim"},
        )
    )
    broken = ["handshakes"] if "thrash" in what or "delete" in what else []
    return Trouble([{"target": "xenstored", **what}], unchecked=broken)


def _victim_corrupt(dice: random.Random, cast: Cast) -> Trouble:
    """Of a network: checksums find it, or TCP asks again."""
    if not cast.vifs:
        return _victim_media(dice, cast)
    return Trouble([{"target": "client/eth0", "corrupt": "1%", "direction": "out"}])


RECIPES: Final[Sequence[Callable[[random.Random, Cast], Trouble]]] = (
    _process,
    _steps,
    _cpu,
    _clock,
    _bells,
    _bells,
    _slow,
    _network,
    _network,
    _halves,
    _hold,
    _watches,
    _again,
    _freeze,
    _victim_ring,
    _victim_answers,
    _victim_media,
    _victim_forgets,
    _victim_grants,
    _victim_store,
    _victim_corrupt,
)


def drawn(seed: int, cast: Cast) -> str:
    """The text of a scenario."""
    dice = random.Random(seed)
    phases: list[str] = [_calm("calm", cast, [])]
    unchecked: set[str] = set()
    for number in range(1, dice.randint(*STORMS) + 1):
        troubles = [dice.choice(RECIPES)(dice, cast) for _ in range(dice.randint(*TROUBLES))]
        for one in troubles:
            unchecked |= set(one.unchecked)
        phases += [_storm(f"storm {number}", troubles), _calm(f"calm {number}", cast, troubles)]
    head = {
        "title": f"Weather {seed}",
        "seed": seed,
        "unchecked": sorted(unchecked),
        "expendable": ["victim"],
    }
    return _table("scenario", head) + cast.text + "".join(phases)


def _storm(name: str, troubles: Sequence[Trouble]) -> str:
    faults = [{"when": "0s..800ms", **fault} for one in troubles for fault in one.faults]
    steps = [{"when": "200ms..1200ms", **step} for one in troubles for step in one.steps]
    return _phase({"name": name, "for": "3s"}, faults, steps)


def _calm(name: str, cast: Cast, troubles: Sequence[Trouble]) -> str:
    until = [
        {"domain": who, "count": count, "within": "40s"} for who, count in cast.clients.items()
    ]
    kills = dict.fromkeys(who for one in troubles for who in one.kills)
    cures = [{"for": "3s", **cure} for one in troubles for cure in one.cures]
    return _phase({"name": name, "until": until}, cures, [{"kill": who} for who in kills])


def _phase(head: Table, faults: Sequence[Table], steps: Sequence[Table]) -> str:
    parts = [_table("[phase]", head)]
    parts += [_table("[phase.fault]", one) for one in faults]
    parts += [_table("[phase.step]", one) for one in steps]
    return "".join(parts)


def _table(name: str, table: Mapping[str, Any]) -> str:
    lines = [f"{json.dumps(key)} = {_value(value)}" for key, value in table.items()]
    return "\n".join(["", f"[{name}]", *lines, ""])


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_value(one)}' for key, one in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)


def rounds(seed: int) -> Iterator[tuple[int, Cast, bool]]:
    """The scenarios of a soak: the seed of each, its lab, and whether it runs in lockstep."""
    dice = random.Random(seed)
    number = 0
    while True:
        cast = THREE_TIER if number % 2 else TWO_TIER
        yield dice.randrange(1 << 31), cast, number % 4 == 2
        number += 1
