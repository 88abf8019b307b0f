"""What the toolstack does and waits for, and whose fault it is."""

import anyio
import pytest

from hvsim.toolstack.host.waiting import (
    NOBODY,
    STORE,
    Dom0Process,
    Ending,
    Other,
    Server,
    Several,
    Task,
    Tasks,
    Work,
    waiting,
    working,
)
from tests.toolstack.fabricated import census, domain


def waits(task: Task, **more: object) -> list[tuple[str, str | None]]:
    told = task.describe(census(**more), task.since + 1.0).waits  # type: ignore[arg-type]
    return [(wait.what, wait.trouble.who if wait.trouble is not None else None) for wait in told]


@pytest.mark.asyncio
async def test_waits_are_told_from_the_outermost_and_end() -> None:
    tasks: Tasks = {}
    with working("xl create", tasks) as task:
        assert list(tasks) == [task]
        with waiting("the backend", Server("vbd", 2, 1), 10.0), waiting("the store", STORE):
            assert waits(task, still=[11]) == [("the backend", None), ("the store", "xenstored")]
            assert waits(task, still=[21]) == [("the backend", "storage"), ("the store", None)]
        assert waits(task) == []
    assert not tasks


def test_what_is_started_within_a_task_waits_for_it() -> None:
    async def part() -> None:
        with waiting("a part", Dom0Process("kernel")):
            await anyio.sleep_forever()

    async def run() -> None:
        with working("whole") as task:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(part)
                await anyio.wait_all_tasks_blocked()
                assert waits(task, still=[12]) == [("a part", "kernel")]
                tasks.cancel_scope.cancel()

    anyio.run(run)


def test_without_a_task_a_wait_is_nobody_s() -> None:
    with waiting("anything", STORE):
        pass


def test_of_several_the_one_that_lasts_is_to_blame() -> None:
    """Red when the first that is found is told: a paused guest hides the backend that is dead."""
    both = Several((Other(2), Other(1)))
    rows = [domain(1, shutdown=True, crashed=True), domain(2, paused=True)]
    found = both.trouble(census(domains=rows))
    assert found is not None
    assert found.who == "storage"
    assert NOBODY.trouble(census([11, 12, 13, 14, 21, 22])) is None


def test_that_a_domain_has_ended_is_no_trouble_for_who_waits_for_its_end() -> None:
    """Red with ``Other``: `xl shutdown -w` would fail because it has worked."""
    for flags in ({"dying": True}, {"shutdown": True, "crashed": True}):
        assert Ending(1).trouble(census(domains=[domain(1, **flags)])) is None
    assert Ending(1).trouble(census(domains=[])) is None
    assert Ending(1).trouble(census([21])) is not None


@pytest.mark.asyncio
async def test_another_task_s_waits_are_one_s_own() -> None:
    tasks: Tasks = {}
    with working("destroying domain 1", tasks), waiting("the store", STORE):
        found = Work("destroying domain 1", tasks).trouble(census([11]))
        assert found is not None
        assert found.who == "xenstored"
        assert Work("another", tasks).trouble(census([11])) is None
