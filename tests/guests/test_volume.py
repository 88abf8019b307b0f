"""The volume against a model, and against the power."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domains.guests.volume import BLOCK, DATA, MAX_FILES, Volume, VolumeError, VolumeFull
from tests.guests.cutdisk import CutDisk, FileDisk, PowerCut

SIZE = DATA + 64 * BLOCK
NAMES = st.sampled_from(["a", "b", "main.db", "main.db-journal"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), NAMES),
        st.tuples(
            st.just("write"), NAMES, st.integers(0, 3 * BLOCK), st.integers(1, 2 * BLOCK),
            st.integers(1, 255),
        ),
        st.tuples(st.just("truncate"), NAMES, st.integers(0, 4 * BLOCK)),
        st.tuples(st.just("remove"), NAMES),
        st.tuples(st.just("sync")),
    ),
    max_size=12,
)  # fmt: skip
Model = dict[str, bytes]


def apply(volume: Volume, model: Model, step: tuple[object, ...]) -> None:
    """One step on the volume and on the model; what the volume refuses happens to neither."""
    match step:
        case ("create", str(name)):
            volume.create(name, 8 * BLOCK)
            model.setdefault(name, b"")
        case ("write", str(name), int(offset), int(length), int(fill)) if name in model:
            volume.write(name, offset, bytes([fill]) * length)
            old = model[name].ljust(offset, b"\0")
            model[name] = old[:offset] + bytes([fill]) * length + old[offset + length :]
        case ("truncate", str(name), int(size)) if name in model:
            volume.truncate(name, size)
            model[name] = model[name][:size].ljust(size, b"\0")
        case ("remove", str(name)) if name in model:
            del model[name]
            volume.remove(name)
        case ("sync",):
            volume.sync()


def contents(volume: Volume) -> Model:
    return {name: volume.read(name, 0, volume.size(name)) for name in volume.names()}


@given(STEPS)
def test_files_hold_what_was_written(steps: list[tuple[object, ...]]) -> None:
    disk = CutDisk(SIZE)
    volume, model = Volume(disk), dict[str, bytes]()
    for step in steps:
        apply(volume, model, step)
        assert contents(volume) == model
    volume.sync()
    assert contents(Volume(disk)) == model


def survives(steps: list[tuple[object, ...]], seed: int, lies: bool) -> bool:
    """Cut the power at every operation of a run: is what was synced always there?

    A file that nothing touched since the last sync (or remove) must be there exactly.
    """
    total = CutDisk(SIZE)
    volume, model = Volume(total), dict[str, bytes]()
    for step in steps:
        apply(volume, model, step)
    dice = random.Random(seed)
    for cut_at in range(total.operations):
        disk = CutDisk(SIZE, cut_at=cut_at, lies=lies)
        promised, touched = dict[str, bytes](), set[str]()
        model = {}
        try:
            volume = Volume(disk)
            for step in steps:
                if len(step) > 1:
                    touched.add(str(step[1]))
                removes = step[0] == "remove" and step[1] in model
                apply(volume, model, step)
                if step[0] == "sync" or removes:
                    # A removal flushes too, and writes the table for all files.
                    promised, touched = dict(model), set()
        except PowerCut:
            pass
        try:
            found = contents(Volume(CutDisk(SIZE, content=disk.after_cut(dice))))
        except VolumeError:
            return False
        for name, data in promised.items():
            if name not in touched and found.get(name) != data:
                return False
        if any(name not in promised and name not in touched for name in found):
            return False
    return True


@given(STEPS, st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_what_was_synced_survives_a_power_cut_at_every_operation(
    steps: list[tuple[object, ...]], seed: int
) -> None:
    assert survives(steps, seed, lies=False)


def test_a_disk_that_ignores_flush_is_caught() -> None:
    steps: list[tuple[object, ...]] = [
        ("create", "a"), ("write", "a", 0, BLOCK, 7), ("sync",), ("create", "b"), ("sync",),
    ]  # fmt: skip
    assert survives(steps, 1, lies=False)
    assert not all(survives(steps, seed, lies=True) for seed in range(8))


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda data: b"\x5a" * len(data), "not blank"),
        (lambda data: data[:BLOCK] + b"ext4" * 1024 + data[2 * BLOCK :], "not blank"),
    ],
)
def test_a_disk_with_other_things_on_it_is_refused(
    spoil: Callable[[bytes], bytes], text: str
) -> None:
    content = spoil(bytes(SIZE))
    disk = CutDisk(SIZE, content=content)
    with pytest.raises(VolumeError, match=text):
        Volume(disk)
    assert disk.read(0, SIZE) == content


def test_one_damaged_slot_costs_one_sync_at_most() -> None:
    disk = CutDisk(SIZE)
    volume = Volume(disk)
    volume.create("a")
    volume.sync()
    volume.create("b")
    volume.sync()
    newest = max((0, 1), key=lambda slot: disk.read(slot * BLOCK + 16, 8)[::-1])
    disk.write(newest * BLOCK + 100, b"\xff")
    assert Volume(disk).names() == ["a"]
    disk.write((1 - newest) * BLOCK + 100, b"\xff")
    with pytest.raises(VolumeError, match="no volume"):
        Volume(disk)


def test_room_is_given_and_taken_back() -> None:
    volume = Volume(CutDisk(SIZE))
    volume.create("a", 60 * BLOCK)
    with pytest.raises(VolumeFull, match="no free region"):
        volume.create("b", 8 * BLOCK)
    volume.create("c", 2 * BLOCK)
    with pytest.raises(VolumeFull, match="cannot grow"):
        volume.write("a", 62 * BLOCK, b"x" * BLOCK)
    assert volume.size("a") == 0
    volume.remove("c")
    volume.write("a", 62 * BLOCK, b"x" * BLOCK)
    volume.remove("a")
    volume.create("b", 64 * BLOCK)


def test_a_reused_region_shows_nothing_of_its_former_file() -> None:
    volume = Volume(CutDisk(SIZE))
    volume.create("a", 8 * BLOCK)
    volume.write("a", 0, b"secret" * 1000)
    volume.remove("a")
    volume.create("b", 8 * BLOCK)
    volume.write("b", 5000, b"x")
    assert volume.read("b", 0, 9999) == bytes(5000) + b"x"


def test_limits_are_named() -> None:
    volume = Volume(CutDisk(SIZE))
    with pytest.raises(VolumeError, match="name of 1 to 40 bytes"):
        volume.create("n" * 41)
    with pytest.raises(VolumeError, match="no file 'x'"):
        volume.read("x", 0, 1)
    with pytest.raises(VolumeError, match="too few"):
        Volume(CutDisk(DATA))
    for index in range(MAX_FILES):
        volume.create(f"f{index}", 1)
        if index + 1 == 64:
            break
    with pytest.raises(VolumeFull):
        volume.create("one more", 1)


def test_reading_only_changes_nothing() -> None:
    disk = CutDisk(SIZE)
    with pytest.raises(VolumeError, match="no volume"):
        Volume(disk, readonly=True)
    Volume(disk).create("a")
    volume = Volume(disk, readonly=True)
    with pytest.raises(VolumeError, match="for reading"):
        volume.create("b")


def test_a_volume_lives_in_a_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    with FileDisk(tmp_path_factory.mktemp("disk") / "image", SIZE) as disk:
        volume = Volume(disk)
        volume.create("a")
        volume.write("a", 10, b"hello")
        volume.sync()
        assert Volume(disk).read("a", 10, 100) == b"hello"
