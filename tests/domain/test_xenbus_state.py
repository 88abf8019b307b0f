"""The state machine, and the recorded handshakes of a real host walked through it."""

import itertools

import pytest

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.xenbus.state import (
    BACKEND_NEXT,
    FRONTEND_NEXT,
    BackendReaction,
    FrontendReaction,
    Half,
    backend_reaction,
    frontend_reaction,
    may_switch,
    parse_state,
)

ALL = list(XenbusState)
Unknown, Initialising, InitWait, Initialised, Connected, Closing, Closed = ALL[:7]
F, B = Half.FRONTEND, Half.BACKEND


def walk(half: Half, *states: int) -> None:
    for old, new in itertools.pairwise(states):
        assert may_switch(half, XenbusState(old), XenbusState(new)), (half, old, new)


@pytest.mark.parametrize(
    ("half", "states"),
    [
        (F, (1, 3, 4)),  # 20: a vbd frontend skips 2
        (F, (1, 4)),  # 20: a vif frontend skips 2 and 3
        (B, (1, 2, 4)),  # 20: a vbd backend
        (F, (4, 6)),  # 41: block-detach
        (B, (5, 6)),  # 41: the toolstack wrote 5
        (F, (4, 5, 6)),  # 60: shutdown
        (B, (4, 5, 6)),
        (B, (5, 5, 6)),  # 61: netback writes 5 over the toolstack's 5
        (B, (4, 2, 4)),  # 70: blkback unbound and bound again under a living frontend
        (F, (4, 5, 6, 1, 4)),  # 72: netfront unbound and bound again
        (B, (6, 2)),
        (B, (2, 5)),  # 77: bad ring-ref
        (F, (4, 1, 3, 4)),  # recovery: moved to a new backend
    ],
)
def test_recorded_walks_are_legal(half: Half, states: tuple[int, ...]) -> None:
    walk(half, *states)


@pytest.mark.parametrize(
    ("half", "old", "new"),
    [
        (B, Initialising, Connected),
        (B, Closed, Connected),
        (B, Closing, Connected),
        (F, Closing, Connected),
        (F, Closed, Connected),
        (F, Initialising, InitWait),
    ],
)
def test_moves_that_no_half_may_make(half: Half, old: XenbusState, new: XenbusState) -> None:
    assert not may_switch(half, old, new)


def test_tables_are_total_and_closing_is_always_reachable() -> None:
    for table in (FRONTEND_NEXT, BACKEND_NEXT):
        assert set(table) == set(ALL)
        for state in ALL:
            if state not in (Closing, Closed):
                assert {Closing, Closed} <= table[state]
            assert Unknown not in table[state]


@pytest.mark.parametrize(
    ("own", "backend", "reaction"),
    [
        (Initialising, Initialising, FrontendReaction.NOTHING),
        (Initialising, InitWait, FrontendReaction.PUBLISH),
        (Initialised, InitWait, FrontendReaction.NOTHING),
        (Connected, InitWait, FrontendReaction.NOTHING),
        (Initialised, Connected, FrontendReaction.CONNECT),
        (Connected, Connected, FrontendReaction.UPDATE),
        (Initialising, Connected, FrontendReaction.PUBLISH_AND_CONNECT),
        (Closed, Connected, FrontendReaction.NOTHING),
        (Connected, Closing, FrontendReaction.CLOSE),
        (Closing, Closing, FrontendReaction.CLOSE),
        (Connected, Closed, FrontendReaction.CLOSE),
        (Closed, Closed, FrontendReaction.NOTHING),
        (Connected, Unknown, FrontendReaction.NOTHING),
    ],
)
def test_frontend(own: XenbusState, backend: XenbusState, reaction: FrontendReaction) -> None:
    assert frontend_reaction(own, backend) is reaction


@pytest.mark.parametrize(
    ("own", "frontend", "online", "reaction"),
    [
        (InitWait, Initialising, True, BackendReaction.NOTHING),
        (Closed, Initialising, True, BackendReaction.REOPEN),
        (InitWait, Initialised, True, BackendReaction.CONNECT),
        (InitWait, Connected, True, BackendReaction.CONNECT),
        (Connected, Connected, True, BackendReaction.NOTHING),
        (Connected, Closing, True, BackendReaction.CLOSING),
        (Connected, Closed, True, BackendReaction.CLOSE),
        (Connected, Closed, False, BackendReaction.CLOSE_AND_UNREGISTER),
        (Connected, Unknown, True, BackendReaction.UNREGISTER),
        (Connected, InitWait, True, BackendReaction.REFUSE),
        (Connected, XenbusState.Reconfigured, True, BackendReaction.REFUSE),
    ],
)
def test_backend(
    own: XenbusState, frontend: XenbusState, online: bool, reaction: BackendReaction
) -> None:
    assert backend_reaction(own, frontend, online) is reaction


def test_every_reaction_leads_to_a_legal_move() -> None:
    """What a reaction tells a half to write is a move that its table has."""
    front = {
        FrontendReaction.PUBLISH: (Initialised,),
        FrontendReaction.CONNECT: (Connected,),
        FrontendReaction.PUBLISH_AND_CONNECT: (Initialised, Connected),
        FrontendReaction.CLOSE: (Closed,),
    }
    back = {
        BackendReaction.REOPEN: (InitWait,),
        BackendReaction.CLOSING: (Closing,),
        BackendReaction.CLOSE: (Closed,),
        BackendReaction.CLOSE_AND_UNREGISTER: (Closed,),
    }
    for own, other in itertools.product(ALL, ALL):
        walk(F, own, *front.get(frontend_reaction(own, other), ()))
        for online in (True, False):
            walk(B, own, *back.get(backend_reaction(own, other, online), ()))


@pytest.mark.parametrize(
    "text", [None, "", "x", "-1", "9", "99", "4 ", "\u0661", "1" * 5000, "4.0"]
)
def test_nonsense_in_a_state_node_is_unknown(text: str | None) -> None:
    assert parse_state(text) is Unknown


def test_parse_state() -> None:
    assert [parse_state(str(int(state))) for state in ALL] == ALL
