"""Requests that the store refuses, quotas that are reached, directories that go: by rules.

Seen red: with `Refusal._answer`, `Exhausted._answer` and `Deletion._look` that do nothing, each
test of its kind; with `Who.is_` that holds for everybody, those with a domain; with `Below.has`
that always holds, those with a path.
"""

from __future__ import annotations

import pytest

from hvsim.abi.xs_wire import ERROR_NUMBERS
from hvsim.faults.grammar import RuleError
from tests.faults.storerig import BACK, FRONT, STORAGE, WEB, Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.mark.parametrize("error", ERROR_NUMBERS)
def test_any_errno_of_the_wire(rig: Rig, error: str) -> None:
    lift = rig.rule(f"request={error}", "op=read", "path=data", "domain=web")
    assert rig.web.ask("READ", "data") == error
    lift()
    assert rig.web.ask("READ", "data") == ""
    assert rig.told == [f"d{WEB}: READ data: {error}"]
    assert rig.store.operations is None, "nothing stands there any more"


def test_the_requests_that_are_named(rig: Rig) -> None:
    rig.rule("request=EIO", "op=write", "path=data/a", "domain=web", "after=1", "times=2")
    write = rig.web.ask
    assert write("WRITE", "data/a/b", "1") == "OK", "the first passes"
    assert write("WRITE", "data/a/b", "2") == "EIO"
    assert write("READ", "data/a/b") == "1"
    assert write("WRITE", "data/ab", "2") == "OK", "another node"
    assert rig.dom0.ask("WRITE", f"/local/domain/{WEB}/data/a", "") == "OK", "another domain"
    assert write("WRITE", f"/local/domain/{WEB}/data/a", "2") == "EIO"
    assert write("WRITE", "data/a", "2") == "OK", "two times"


@pytest.mark.parametrize(
    ("op", "request_"),
    [
        ("mkdir", ("MKDIR", "data/x")),
        ("rm", ("RM", "data/x")),
        ("directory", ("DIRECTORY", "data")),
        ("permissions", ("GET_PERMS", "data")),
        ("watch", ("WATCH", "data", "token")),
        ("watch", ("RESET_WATCHES", "")),
        ("transaction", ("TRANSACTION_START", "")),
        ("domain", ("GET_DOMAIN_PATH", "1")),
        ("control", ("CONTROL", "check")),
    ],
)
def test_each_kind_of_request(rig: Rig, op: str, request_: tuple[str, ...]) -> None:
    rig.rule("request=EBUSY", f"op={op}")
    assert rig.dom0.ask(*request_) == "EBUSY"
    assert rig.web.ask("READ", "data") == ""


def test_a_commit_that_fails_is_over_and_nothing_of_it_is_done(rig: Rig) -> None:
    rig.rule("request=EAGAIN", "op=commit", "domain=web", "times=1")
    tx = rig.web.begin()
    rig.web.ask("WRITE", "data/a", "1", tx=tx)
    assert rig.web.end(tx) == "EAGAIN"
    assert rig.web.end(tx) == "ENOENT", "that transaction is no more"
    assert rig.web.ask("READ", "data/a") == "ENOENT"
    tx = rig.web.begin()
    rig.web.ask("WRITE", "data/a", "1", tx=tx)
    assert rig.web.end(tx) == "OK"
    assert rig.sound()


def test_another_life_of_the_domain_is_meant_as_well(rig: Rig) -> None:
    rig.rule("request=ENOSPC", "op=write", "domain=web")
    assert rig.web.ask("WRITE", "data/a", "") == "ENOSPC"
    rig.end(rig.web)
    rig.dom0.ask("RM", f"/local/domain/{WEB}")
    assert rig.domain("web", 9).ask("WRITE", "data/a", "") == "ENOSPC"
    assert rig.storage.ask("WRITE", "data/a", "") == "OK"


# -- quota=exhaust -----------------------------------------------------------------------------


def test_a_domain_at_its_quota(rig: Rig) -> None:
    web = rig.web
    lift = rig.rule("quota=exhaust", "domain=web")
    assert web.ask("WRITE", "data/a", "1") == "ENOSPC"
    assert web.ask("MKDIR", "data/a") == "ENOSPC"
    assert web.ask("WATCH", "data", "token") == "E2BIG"
    assert web.ask("TRANSACTION_START", "") == "ENOSPC"
    assert web.ask("WRITE", "data", "there already") == "OK"
    assert rig.storage.ask("WRITE", "data/a", "1") == "OK", "another domain"
    names = ["nodes", "nodes", "watches", "transactions"]
    assert rig.quota_reports == [(name, WEB) for name in names], "reported like any quota"
    assert [text.rpartition(", ")[2] for text in rig.told] == [f"no {name} left" for name in names]
    lift()
    assert web.ask("WRITE", "data/a", "1") == "OK"
    assert rig.sound()


def test_a_quota_bites_at_the_end_of_a_transaction(rig: Rig) -> None:
    tx = rig.web.begin()
    rig.rule("quota=exhaust", "domain=web", "times=1")
    assert rig.web.ask("WRITE", "data/a", "1", tx=tx) == "OK"
    assert rig.web.end(tx) == "ENOSPC"
    assert rig.web.ask("WRITE", "data/a", "1") == "OK", "once"
    assert rig.sound()


def test_whose_quota_must_be_said_and_dom0_has_none(rig: Rig) -> None:
    with pytest.raises(RuleError, match="domain= is wanted"):
        rig.rule("quota=exhaust")
    with pytest.raises(ValueError, match="dom0 has no quota"):
        rig.rule("quota=exhaust", "domain=0")


# -- delete ------------------------------------------------------------------------------------


def test_a_directory_goes_once(rig: Rig) -> None:
    rig.storage.ask("WATCH", BACK, "token")
    rig.storage.take_events()
    rig.rule(f"delete={BACK}")
    rig.after(0.1)
    assert rig.states() == ("1", "ENOENT")
    assert (BACK, "token") in rig.storage.take_events()
    assert rig.told == [f"{BACK} taken away, 2 nodes"]
    rig.disk(WEB)
    rig.after(0.1)
    assert rig.states() == ("1", "1"), "once"


def test_a_directory_of_a_domain_goes_as_soon_as_it_is_there(rig: Rig) -> None:
    rig.rule("delete=data/new", "domain=web", "times=2", "after=1")
    assert rig.web.ask("WRITE", "data/new/a", "1") == "OK"
    assert rig.web.ask("READ", "data/new/a") == "1", "the first request passes"
    for _ in range(2):
        assert rig.web.ask("WRITE", "data/new/a", "1") == "OK"
        assert rig.web.ask("READ", "data/new/a") == "ENOENT"
    assert rig.web.ask("WRITE", "data/new/a", "1") == "OK"
    assert rig.web.ask("READ", "data/new/a") == "1"
    assert rig.sound()


def test_what_has_gone_before_a_restart_does_not_go_again(rig: Rig) -> None:
    rig.rule(f"delete={FRONT}", fired=1)
    rig.after(0.1)
    assert rig.states() == ("1", "1")


def test_whose_directory_must_be_said(rig: Rig) -> None:
    with pytest.raises(ValueError, match="domain=NAME says so"):
        rig.rule("delete=device/vbd")


def test_rules_stand_one_upon_another(rig: Rig) -> None:
    lifts = [rig.rule("request=EIO", "op=write", f"path={BACK}", number=1)]
    lifts.append(rig.rule("request=EROFS", "op=write", "domain=storage", number=2))
    assert rig.back(2) == "EROFS"
    assert rig.dom0.ask("WRITE", f"{BACK}/state", "1") == "EIO"
    lifts[0]()
    assert rig.dom0.ask("WRITE", f"{BACK}/state", "1") == "OK"
    assert rig.storage.ask("WRITE", f"/local/domain/{STORAGE}/data", "1") == "EROFS"
    lifts[1]()
    assert rig.back(2) == "OK"
