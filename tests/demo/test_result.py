"""The verdict: what counts as loss, and what does not."""

from hvsim.demo.result import Kill, Result


def good() -> Result:
    return Result(
        seed=1,
        lab="x",
        wanted_kills=1,
        acknowledged=10,
        found=10,
        integrity="ok",
        orderly=True,
        kills=[Kill(1, 4, 40.0, 45.0)],
    )


def test_all_is_well() -> None:
    assert good().complaints() == []
    assert good().ok
    found = good().as_json()
    assert (found["acknowledged"], found["found"], found["integrity"]) == (10, 10, "ok")
    assert (found["kills"], found["recovery_ms"], found["leftovers"]) == (1, [40.0], [])
    assert (found["recovery_ms_median"], found["commit_gap_ms_median"]) == (40.0, 45.0)


def test_each_fault_alone_is_enough() -> None:
    for change, sign in (
        ({"found": 9}, "LOSS: 10 commits acknowledged, 9 found"),
        ({"found": 11}, "SURPLUS"),
        ({"lost": [3]}, "LOSS: 1 acknowledged commits are not in the database"),
        ({"integrity": "page 7 is never used"}, "LOSS: integrity_check says"),
        ({"unsound": ["2 torn commits"]}, "LOSS: 2 torn commits"),
        ({"leftovers": ["process 7"]}, "left behind: process 7"),
        ({"kills": []}, "0 recoveries of 1 kills"),
        ({"acknowledged": 0, "found": 0}, "nothing was proven"),
        ({"failure": "it stopped"}, "it stopped"),
    ):
        result = good()
        for key, value in change.items():
            setattr(result, key, value)
        assert not result.ok
        assert any(sign in text for text in result.complaints()), sign


def cut_off(found: int) -> bool:
    result = good()
    result.orderly = False
    result.found = found
    return result.ok


def test_one_commit_may_be_durable_without_its_acknowledgement_when_the_guest_was_cut_off() -> None:
    assert [cut_off(found) for found in (9, 10, 11, 12)] == [False, True, True, False]
