"""The disk seam: the real disk and the fault disk keep the same contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from neuro.cluster.disk import Disk, RealDisk, replace_file
from neuro.errors import StartError
from tests.unit.cluster.fault_disk import FaultDisk


@pytest.fixture(params=["real", "fault"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    held: Disk = FaultDisk() if request.param == "fault" else RealDisk(tmp_path / "data")
    yield held
    held.close()


def test_what_is_written_is_read(disk: Disk) -> None:
    file = disk.create("a")
    file.write(0, b"hello")
    file.write(7, memoryview(b"world"))
    assert file.size_bytes == 12
    assert file.read(0, 100) == b"hello\0\0world"
    assert file.read(12, 5) == b""
    file.sync()
    file.close()
    file.close()
    again = disk.open("a")
    assert again.read(7, 3) == b"wor"
    again.close()


def test_allocated_room_reads_as_zeros(disk: Disk) -> None:
    file = disk.create("a")
    file.write(0, b"x")
    file.allocate(5000)
    assert file.read(0, 5000) == b"x" + bytes(4999)
    file.truncate(3)
    assert file.size_bytes == 3
    file.close()


def test_rename_takes_the_place_of_the_other_file(disk: Disk) -> None:
    for name in ("new", "old"):
        file = disk.create(name)
        file.write(0, name.encode())
        file.close()
    disk.rename("new", "old")
    disk.sync_directory()
    assert disk.names() == ["old"]
    file = disk.open("old")
    assert file.read(0, 9) == b"new"
    file.close()


def test_a_missing_file_is_an_error_to_open_and_none_to_remove(disk: Disk) -> None:
    disk.remove("none")
    with pytest.raises(FileNotFoundError):
        disk.open("none")
    assert disk.free_bytes() > 0


def test_a_created_file_is_empty_whatever_it_was(disk: Disk) -> None:
    for content in (b"long content", b""):
        file = disk.create("a")
        file.write(0, content)
        file.close()
    file = disk.open("a")
    assert file.size_bytes == 0
    file.close()


def test_two_processes_can_not_use_one_directory(tmp_path: Path) -> None:
    first = RealDisk(tmp_path / "data")
    with pytest.raises(StartError, match="another process uses"):
        RealDisk(tmp_path / "data")
    first.close()
    RealDisk(tmp_path / "data").close()


def test_a_directory_that_can_not_be_made_is_a_start_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="can not be opened"):
        RealDisk(tmp_path / "file" / "data")


@pytest.mark.parametrize("seed", range(40))
def test_a_replaced_file_is_the_old_or_the_new_after_any_crash(seed: int) -> None:
    disk = FaultDisk()
    replace_file(disk, "a", b"old" * 400)
    disk.operation_count = 0
    disk.fail_at = 1 + seed % 6
    try:
        replace_file(disk, "a", b"new" * 400)
        is_done = True
    except OSError:
        is_done = False
    disk.lose_power(Random(seed))
    content = bytes(disk.content("a"))
    assert content == b"new" * 400 or (content == b"old" * 400 and not is_done)
